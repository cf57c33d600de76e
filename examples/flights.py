"""New York's departures of 2013 as a stream: streamed, checked against a batch, killed, and continued.

A departure is reported when the aircraft leaves; it belongs to the hour for which it was scheduled.
So a late flight is a late row. `departures_flow` is the flow; the rest of this file runs it, and the
modules in `flights_parts/` hold what is about flights and about showing things, not about streams.

    make demo                                      everything, from nothing
    python examples/flights.py --smoke             the same on two weeks of January
    streamlib run examples/flights.py:flow         the flow alone, once a demo has prepared its input
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path

from flights_parts import arrivals, comparison, crash, pictures, report
from flights_parts.options import Options, parse
from flights_parts.paced import Paced
from flights_parts.places import DEFAULT_FOLDER, Places

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import Source, parquet

CHECKPOINTS = "0.3s"  # short, so that some lie before the kill; output appears at checkpoints


def departures_flow(source: Source, out: Path | str, by: str = "carrier") -> sl.Flow:
    """Delays per airport and hour, and per carrier in the last three hours, with what came too late."""
    departures = sl.read(
        source,
        name="departures",
        event_time="scheduled",
        watermark=sl.bounded_disorder("2h"),  # per partition: every airport is a file of its own
    )
    delays = {
        "departures": sl.count(),
        "mean_delay": sl.mean("dep_delay"),
        "max_delay": sl.max("dep_delay"),
        "over_15": sl.mean(col("dep_delay") > 15),
    }
    hourly = departures.key_by("origin").window(windows.tumbling("1h")).aggregate(**delays)
    sliding = departures.key_by(by).window(windows.sliding("3h", every="30min")).aggregate(**delays)
    return sl.Flow(
        "flights",
        hourly.write(parquet.sink(f"{out}/hourly"), name="hourly"),
        hourly.late().write(parquet.sink(f"{out}/hourly_late"), name="hourly_late"),
        sliding.write(parquet.sink(f"{out}/sliding"), name="sliding"),
        # a row can be late for some of its six windows and on time for others: one row for each it missed
        sliding.missed().write(parquet.sink(f"{out}/sliding_missed"), name="sliding_missed"),
    )


flow = departures_flow(parquet.source(f"{DEFAULT_FOLDER}/departures"), f"{DEFAULT_FOLDER}/own")


# ------------------------------------------------------------------------------ the demo


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 if all of it held."""
    options = parse(arguments)
    report.write_lines_at_once()
    try:
        if options.paced is not None:
            run_paced(options, options.paced)
        else:
            demo(options)
    except sl.StreamlibError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 1
    return 0


def demo(options: Options) -> None:
    """The five parts, then what they showed, in words and in pictures."""
    began = time.monotonic()
    places = Places(options.out)
    places.prepare()
    shown = report.Findings()
    flights = set_up(options, places, shown)
    stream_flow = departures_flow(parquet.source(str(places.departures)), places.stream, options.by)
    stream(stream_flow, options, places, flights, shown)
    against_batch(stream_flow, options, places, shown)
    killed_and_continued(options, places, flights, shown)
    report.heading("What was shown")
    shown.print()
    drawn = pictures.draw(places.table("stream", "hourly"), flights.departed, places.root)
    print(f"\n{time.monotonic() - began:.1f} s in all; everything is in {places.root}/")
    print("The week around the worst day, and that day's watermark against arrival:")
    for path in drawn:
        print(path)


def set_up(options: Options, places: Places, shown: report.Findings) -> arrivals.Flights:
    """Write the stream, in the order of arrival, as three files, one per airport."""
    report.heading("The stream")
    archive = Path(options.data) if options.data else arrivals.find_archive()
    flights = arrivals.read(archive, smoke=options.smoke)
    arrivals.write(flights, places)
    report.show_flights(flights, archive, places)
    shown.add(
        flights.departed.num_rows + flights.cancelled.num_rows == flights.total,
        f"{flights.total:,} flights: {flights.departed.num_rows:,} departures in the order of leaving, "
        f"{flights.cancelled.num_rows:,} cancelled branched off",
    )
    return flights


def stream(
    flow: sl.Flow, options: Options, places: Places, flights: arrivals.Flights, shown: report.Findings
) -> None:
    """Stream all of it, undisturbed."""
    report.heading("Streamed, with two hours of patience")
    result = finished(flow.run(state=str(places.state / "stream"), checkpoint_interval=CHECKPOINTS))
    hourly, sliding = places.table("stream", "hourly"), places.table("stream", "sliding")
    late = places.table("stream", "hourly_late").num_rows
    missed = places.table("stream", "sliding_missed").num_rows
    report.show_late(late, missed, places)
    report.show_results(hourly, sliding, options.by)
    shown.add(
        result.rows_read == flights.departed.num_rows,
        f"{result.rows_read:,} rows streamed in {result.seconds:.1f} s, {flow.guarantee()}: "
        f"{hourly.num_rows:,} hourly and {sliding.num_rows:,} sliding windows",
    )
    shown.add(
        late <= result.late_rows and int(hourly["departures"].to_numpy().sum()) + late == result.rows_read,
        f"every row is in its hour or among the {late:,} late ones; "
        f"{missed:,} times a row missed one of its sliding windows",
    )


def against_batch(flow: sl.Flow, options: Options, places: Places, shown: report.Findings) -> None:
    """The same flow as a batch, where nothing is late; streaming and late rows together must equal it."""
    report.heading("Against the batch")
    sinks = {name: parquet.sink(str(places.batch / name)) for name in places.sinks}
    result = finished(flow.backfill(sinks=sinks, state=str(places.state / "batch")))
    shown.add(
        result.late_rows == 0,
        f"the batch run of the same flow took {result.seconds:.1f} s; nothing is late in it",
    )
    for name, key, late in (("hourly", "origin", "hourly_late"), ("sliding", options.by, "sliding_missed")):
        compared = comparison.compare(
            places.table("stream", name), places.table("stream", late), places.table("batch", name), key
        )
        listed = places.root / f"changed_{name}.csv"
        comparison.write_changed(compared.changed, listed)
        report.show_comparison(name, key, compared, listed)
        shown.add(
            compared.differing is None,
            f"{name}: streamed + late rows recomputed = batch in all {compared.windows:,} windows, means "
            f"within {compared.gap:g}; lateness had changed {compared.changed.num_rows:,}",
            compared.differing,
        )


def killed_and_continued(
    options: Options, places: Places, flights: arrivals.Flights, shown: report.Findings
) -> None:
    """The streaming job again, paced, killed in the middle, started again."""
    report.heading("Killed and started again")
    command = [sys.executable, str(Path(__file__).resolve()), "--out", str(places.root), "--by", options.by]
    total = places.table("stream", "hourly").num_rows
    speed = flights.span_seconds / options.pace
    days = flights.span_seconds / 86_400
    print(f"A process streams these {days:.0f} days paced, in {options.pace:g} seconds, until it is killed:")
    before = crash.kill_in_the_middle([*command, "--paced", str(speed)], places, total)
    report.show_kill(before)
    again = crash.start_again([*command, "--paced", "inf"])
    after = crash.published(places.crash)
    crash.check(before, after, again, flights.departed.num_rows, places, shown)


def run_paced(options: Options, speed: float) -> None:
    """What the process that is killed runs, and the one that goes on: they differ in their pace only."""
    places = Places(options.out)
    source = Paced(parquet.source(str(places.departures)), by="departed", speed=speed)
    flow = departures_flow(source, places.crash, options.by)
    result = finished(flow.run(state=str(places.state / "crash"), checkpoint_interval=CHECKPOINTS))
    print(json.dumps(dataclasses.asdict(result)))


def finished(result: sl.JobResult) -> sl.JobResult:
    """The result, unless a signal stopped the job before its end."""
    if result.outcome != "finished":
        raise KeyboardInterrupt
    return result


if __name__ == "__main__":
    sys.exit(main())
