"""Plans as data and their formats: text and tree, JSON, Mermaid, SVG."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import console, memory, parquet
from streamlib.plan.description import Plan, describe, describe_partly
from streamlib.plan.layout import GAP_X, arrange
from streamlib.plan.picture import BIG, SMALL, text_width
from streamlib.plan.render import FORMATS, rendered

SVG = "{http://www.w3.org/2000/svg}"


def read(name: str) -> sl.Stream:
    rows = memory.source([{"at": 1, "key": "a", "value": 2}])
    return sl.read(rows, name=name, event_time="at", watermark=sl.bounded_disorder("2h"))


def doubled(batch):
    return batch


def mixed() -> sl.Flow:
    """Several sources, a split, a union of three, an order-sensitive operator, late rows, five sinks."""
    bids, auctions, people = read("bids"), read("auctions"), read("people")
    high, low = bids.split(col("value") > 1)
    all_of_them = high.union(auctions.map_batches(doubled), people)
    hourly = all_of_them.key_by("key").window(windows.tumbling("1h"), name="hourly").aggregate(n=sl.count())
    daily = hourly.key_by("key").window(windows.tumbling("1d")).aggregate(n=sl.sum("n"))
    return sl.Flow(
        "mixed",
        hourly.write(parquet.sink("out/hourly"), name="per_hour"),
        hourly.late().union(bids).write(console.sink(), name="late_and_all"),
        hourly.missed().write(parquet.sink("out/missed"), name="missed"),
        low.write(parquet.sink("out/low"), name="low"),
        daily.write(parquet.sink("out/daily"), name="daily"),
    )


def deep(count: int) -> sl.Flow:
    stream = read("start")
    for i in range(count):
        stream = stream.filter(col("value") > i)
    return sl.Flow("deep", stream.write(parquet.sink("out"), name="end"))


def wide(count: int) -> sl.Flow:
    stream = read("start")
    return sl.Flow("wide", *(stream.write(parquet.sink(f"out/{i}"), name=f"sink_{i}") for i in range(count)))


def plan_of(flow: sl.Flow) -> Plan:
    return describe(flow.bind())


def broken() -> Plan:
    """Of two branches that don't bind: a misspelt column, and a file that is not there."""
    gone = sl.read(parquet.source("nowhere/at_all"), name="gone").filter(col("x") > 1)
    misspelt = read("rows").filter(col("valeu") > 1).key_by("key")
    return describe_partly("broken", [gone.port.node, misspelt.port.node])


# --------------------------------------------------------------------------- data


def test_json_holds_what_the_documentation_promises():
    found = json.loads(mixed().explain("json"))
    assert (found["version"], found["flow"]) == (1, "mixed")
    assert found["guarantee"] == "at-least-once"
    assert found["weakest"] == "sink 'late_and_all', which is at-least-once"
    steps = {step["id"]: step for step in found["operators"]}
    bids = steps["bids"]
    assert (bids["role"], bids["kind"], bids["name"]) == ("source", "read", "bids")
    assert bids["where"].startswith("test_plan.py:")
    assert bids["source"] == {
        "replay": "replayable",
        "bounded": True,
        "guarantee": "exactly-once",
        "event_time": "col('at')",
        "watermark": "bounded disorder 2h",
        "max_ahead": "1d",
        "columns": None,
        "rows": None,
    }
    hourly = steps["hourly"]
    assert hourly["state"] == {"keys": ["key"], "key_groups": 128, "keeps": None, "grows": None}
    assert [output["name"] for output in hourly["outputs"]] == ["out", "late", "missed"]
    rows = hourly["outputs"][0]["rows"]
    assert rows["keys"] == ["key"]
    assert rows["event_time"] is True
    assert rows["columns"][1] == {
        "name": "window_start",
        "type": "timestamp[us, tz=UTC]",
        "nullable": False,
    }
    assert steps["per_hour"]["sink"] == {
        "delivery": "staged",
        "takes": ["append-only"],
        "guarantee": "exactly-once",
    }
    late = next(i for i in steps["late_and_all"]["inputs"])
    assert late["operator"].endswith("union")
    assert [step["id"] for step in found["operators"] if step["order_sensitive"]] == ["auctions.map_batches"]
    assert [step["id"] for step in found["operators"] if step["state"]] == ["hourly", "hourly.aggregate"]
    assert all(step["error"] is None for step in found["operators"])


def test_operators_stand_after_what_they_read():
    seen: set[str] = set()
    for step in plan_of(mixed()).operators:
        assert {i.operator for i in step.inputs} <= seen
        seen.add(step.id)


def test_a_flow_that_does_not_bind_has_its_errors_where_they_belong():
    plan = broken()
    assert plan.guarantee is None
    errors = {step.id: step.error for step in plan.operators if step.error}
    assert set(errors) == {"gone", "rows.filter"}
    assert errors["rows.filter"].startswith("no column 'valeu'\n  expected: one of at, key, value")
    below = next(step for step in plan.operators if step.kind == "key_by")
    assert below.inputs[0].rows is None
    assert below.outputs[0].rows is None


def test_an_unknown_format_names_the_closest():
    with pytest.raises(sl.StreamlibError, match=r"did you mean 'mermaid'\?"):
        mixed().explain("mermaids")  # type: ignore[arg-type]


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_the_same_in_every_process(format):
    code = f"from tests.test_plan import mixed; print(mixed().explain({format!r}), end='')"
    root = Path(__file__).parents[1]
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] == mixed().explain(format)


def test_a_function_without_an_importable_name_is_shown_by_its_line_and_not_by_its_address():
    flow = sl.Flow("f", read("rows").map_batches(lambda b: b).write(parquet.sink("o"), name="o"))
    assert "<lambda> (test_plan.py:" in flow.explain()
    assert "@" not in flow.explain()


# --------------------------------------------------------------------------- the tree


def test_the_tree_shows_chains_branches_side_outputs_and_where_streams_meet():
    assert mixed().explain("tree").splitlines() == [
        "flow mixed (at-least-once)",
        "├─ bids  memory.source(1 rows: at, key, value)",
        "│  ├─ split  (col('value') > 1)",
        "│  │  ├─ → auctions.bids.people.union",
        "│  │  └─ rest: low  parquet.sink('out/low')",
        "│  └─ → bids.hourly.union",
        "├─ auctions  memory.source(1 rows: at, key, value)",
        "│  map_batches  tests.test_plan:doubled",
        "│  → auctions.bids.people.union",
        "└─ people  memory.source(1 rows: at, key, value)",
        "   auctions.bids.people.union",
        "   key_by  key",
        "   hourly  tumbling 1h: n=count()  [state by key in 128 key groups]",
        "   ├─ per_hour  parquet.sink('out/hourly')",
        "   ├─ late: bids.hourly.union",
        "   │  late_and_all  console.sink()",
        "   ├─ missed: missed  parquet.sink('out/missed')",
        "   └─ key_by  key",
        "      aggregate  tumbling 1d: n=sum(col('n'))  [state by key in 128 key groups]",
        "      daily  parquet.sink('out/daily')",
    ]


def test_the_tree_of_a_deep_chain_has_no_indentation_and_one_line_an_operator():
    lines = deep(1500).explain("tree").splitlines()
    assert len(lines) == 1503
    assert not any(line.startswith(" ") for line in lines)


# --------------------------------------------------------------------------- Mermaid


def test_mermaid_holds_every_operator_and_edge_and_names_side_outputs():
    text = mixed().explain("mermaid")
    plan = plan_of(mixed())
    assert text.startswith('---\ntitle: "mixed"\n---\nflowchart TD\n')
    assert text.count("]:::") == len(plan.operators)
    assert text.count(" -->") == sum(len(step.inputs) for step in plan.operators)
    assert '-->|"late"| ' in text


def test_mermaid_escapes_whatever_a_setting_may_hold():
    sly = col('"]; click n0 <b>`x`') == "#end; %%{init}%% ⇒ \\"
    flow = sl.Flow("f", read("rows").filter(sly).write(parquet.sink("o"), name="end"))
    lines = rendered(describe_partly("f", [s.node for s in flow.sinks]), "mermaid").splitlines()
    filtered = next(line for line in lines if line.startswith("  n1["))
    label = filtered[len('  n1["') : filtered.rindex('"]')]
    assert not set(label.replace("<br/>", "")) & set('"<>`%\\⇒')


# --------------------------------------------------------------------------- SVG


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of every operator's box."""
    found = []
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        assert rect is not None
        x, y, w, h = (float(rect.get(name, "")) for name in ("x", "y", "width", "height"))
        found.append((x, y, x + w, y + h))
    return found


def overlapping(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@pytest.mark.parametrize(
    "flow", [mixed(), deep(30), wide(20), deep(0)], ids=["mixed", "deep", "wide", "tiny"]
)
def test_the_picture_is_valid_and_its_boxes_stand_inside_it_and_apart(flow):
    text = flow.explain("svg")
    root = ET.fromstring(text)
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    found = boxes(text)
    assert len(found) == len(plan_of(flow).operators)
    assert all(x >= 0 and y >= 0 and right <= width and bottom <= height for x, y, right, bottom in found)
    assert not any(overlapping(a, b) for i, a in enumerate(found) for b in found[:i])


def test_the_picture_names_side_outputs_and_hovering_shows_ids_lines_and_schemas():
    root = ET.fromstring(mixed().explain("svg"))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"late", "missed", "rest", "hourly", "mixed · at-least-once"} <= set(texts)
    hover = next(t.text for t in root.iter(f"{SVG}title") if t.text and t.text.startswith("hourly ["))
    assert hover.startswith("hourly [aggregate]  test_plan.py:")
    assert "state in 128 key groups" in hover
    assert "out: key string, window_start timestamp[us, tz=UTC]" in hover


def test_long_names_are_cut_in_the_box_and_whole_when_hovering():
    name = "a_name_that_is_far_too_long_for_any_box_in_a_picture_" * 1
    panes = read("r").window(windows.tumbling("1h"), name=name).aggregate(n=sl.count())
    root = ET.fromstring(sl.Flow("f", panes.write(parquet.sink("o"), name="o")).explain("svg"))
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert any(text.startswith("a_name_that_is") and text.endswith("…") for text in texts)
    assert any((title.text or "").startswith(name) for title in root.iter(f"{SVG}title"))


def test_errors_and_order_sensitive_operators_stand_out():
    svg = rendered(broken(), "svg")
    assert svg.count("no column 'valeu'".replace("'", "&#x27;")) == 2, "in the box and on hovering"
    assert "stroke-dasharray" in mixed().explain("svg")
    assert "stroke-dasharray" not in deep(1).explain("svg")


def test_the_picture_can_stand_in_a_page_beside_others_and_loads_nothing():
    svg = mixed().explain("svg")
    assert not any(part in svg for part in ("<style", " id=", "url(", "href", "<script"))


def test_control_characters_make_no_broken_picture():
    flow = sl.Flow("f", read("r").filter(col("key") == "\x00\x1b<&>").write(parquet.sink("o"), name="o"))
    ET.fromstring(flow.explain("svg"))


def test_text_is_never_taken_for_much_narrower_than_it_is():
    """Against the advance widths of DejaVu Sans, the widest of the usual fonts."""
    widths = {"memory.source": 90.2 / 13, "WWWW": 51.4 / 13, "window_start": 86.0 / 13}
    for text, em in widths.items():
        assert text_width(text, BIG) >= 0.93 * em * BIG
    assert text_width("日本", SMALL) == 2 * SMALL


# --------------------------------------------------------------------------- layout


def test_random_graphs_are_laid_out_without_overlap_and_downwards():
    chance = random.Random(7)
    for _ in range(60):
        count = chance.randint(1, 25)
        sizes = [(chance.uniform(20, 200), chance.uniform(20, 90)) for _ in range(count)]
        edges = [(chance.randrange(b), b) for b in range(1, count) for _ in range(chance.randint(0, 2))]
        layout = arrange(sizes, edges)
        assert arrange(sizes, edges) == layout
        found = [
            (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
            for (w, h), (x, y) in zip(sizes, layout.centres, strict=True)
        ]
        assert not any(overlapping(a, b) for i, a in enumerate(found) for b in found[:i])
        assert all(found[a][3] < found[b][1] for a, b in edges)
        assert all(x >= -0.01 and r <= layout.width + 0.01 for x, _, r, _ in found)


def test_chains_are_straight_and_branches_without_crossings_when_they_can_be():
    sizes = [(100.0, 40.0)] * 7
    chain = arrange(sizes, [(i, i + 1) for i in range(6)])
    assert {x for x, _ in chain.centres} == {50.0}
    fan = arrange(sizes, [(0, 1), (0, 2), (1, 6), (2, 5), (1, 3), (2, 4)])
    first, second = sorted([1, 2], key=lambda i: fan.centres[i][0])
    below = {1: (6, 3), 2: (5, 4)}
    assert max(fan.centres[i][0] for i in below[first]) < min(fan.centres[i][0] for i in below[second])


def test_an_edge_goes_around_the_boxes_of_the_layers_it_passes():
    sizes = [(100.0, 40.0)] * 4
    layout = arrange(sizes, [(0, 1), (1, 2), (2, 3), (0, 3)])
    around = layout.passes[3]
    assert len(around) == 4, "in and out of two layers"
    assert all(abs(x - layout.centres[1][0]) >= 50 + GAP_X / 2 for x, _ in around)


def test_a_source_says_what_it_need_not_read(tmp_path):
    table = pa.table({"at": [1, 2], "key": ["a", "b"], "value": [1, 2], "unused": [0.5, 1.5]})
    pq.write_table(table, tmp_path / "rows.parquet")
    rows = sl.read(parquet.source(str(tmp_path)), name="rows")
    large = rows.select("key", "value").filter(col("value") > 1).key_by("key").aggregate(n=sl.count())
    flow = sl.Flow("large", large.write(memory.table_sink(), name="table"))
    text = flow.explain()
    assert "reads only key, value\n" in text
    assert "leaves out what holds no row with (col('value') > 1)\n" in text
    (source, *_) = json.loads(flow.explain("json"))["operators"]
    assert source["source"]["columns"] == ["key", "value"]
    assert source["source"]["rows"] == "(col('value') > 1)"
    everything = sl.Flow("all", rows.write(memory.sink(), name="sink")).explain()
    assert "reads only" not in everything
    assert "leaves out" not in everything
