"""What nncore bench prints: cases, gates, changes."""

from __future__ import annotations

from nncore.cli.output import table


def head(result: dict) -> str:
    """Machine and versions."""
    m = result["machine"]
    peers = "".join(f"; {', '.join(f'{k} {v}' for k, v in versions.items())}" for versions in result["peers"].values())
    return (f"{m['cpu']}, {m['processors']} processors, load {m['load']}; {m['isa']}, {m['compiler']}, "
            f"numerics {m['numerics_id']}, commit {result['commit']}{peers}")


def cases(result: dict) -> str:
    """Every case: time, rates, and the ratio to each peer with its interval; "" if there is none."""
    packages = list(result["peers"])
    rows = [("case", "shape", "math", "threads", "time", "GFLOP/s", "GB/s", "peak", *(["error"] if packages else []), *packages)]
    found = [c for c in result["cases"] if "overhead" not in c and "growth" not in c]
    for c in found:
        share = f"{c['share_of_peak']:.0%}" if c["share_of_peak"] is not None else ""
        ratios = {p["name"]: f"{p['ratio']:.2f} [{p['low']:.2f}, {p['high']:.2f}] {_quality(p)}" for p in c["peers"]}
        rows.append((c["case"], c["shape"], c["math"], c["threads"], time(c["seconds"]), _figure(c["gflops"]),
                     _figure(c["gbytes_per_s"]), share, *([_quality(c)] if packages else []),
                     *(ratios.get(p, "") for p in packages)))
    return table(rows, right=tuple(range(3, len(rows[0])))) if found else ""


def overheads(result: dict) -> str:
    """What instruments and emulated formats cost, as multiples of a plain step; "" if that was not measured."""
    found = [c for c in result["cases"] if "overhead" in c]
    rows = [("case", "network", "threads", "a step", "times a plain step [interval]", "at most", "")]
    for c in found:
        o = c["overhead"]
        limit = "" if o["limit"] is None else f"{o['limit']:g}"
        verdict = {True: "holds", False: "DOES NOT HOLD", None: "open" if limit else ""}[o["holds"]]
        rows.append((c["case"], c["shape"], c["threads"], time(c["seconds"]), _times(o), limit, verdict))
    if not found:
        return ""
    level = min(c["overhead"]["level"] for c in found)
    return table(rows, right=(2, 3, 4, 5)) + ("\n\nMedians of paired ratios of processor seconds; intervals by order statistics "
                                              f"of the rounds, {level:.1%}: open where one holds the limit.")


def growth(result: dict) -> str:
    """Time and memory over the number of images; "" if that was not measured."""
    found = [c for c in result["cases"] if "growth" in c]
    rows = [("case", "network", "threads", "an image", "times as with 10,000 [interval]", "beside the data", "")]
    for c in found:
        g = c["growth"]
        rows.append((c["case"], c["shape"], c["threads"], time(c["seconds"]), _times(g), f"{g['beside_data_bytes'] / 1e6:.0f} MB",
                     "holds" if g["holds"] else "DOES NOT HOLD"))
    if not found:
        return ""
    g = found[0]["growth"]
    return table(rows, right=(2, 3, 4, 5)) + (f"\n\nAt most {g['limit']:g} times as long an image, at most "
                                              f"{g['memory_limit'] / 1e6:g} MB beside pixels and labels.")


def _times(o: dict) -> str:
    return f"{o['ratio']:.4g} [{o['low']:.4g}, {o['high']:.4g}]"


def gates(found: list[dict]) -> str:
    """The gates with what was measured, and under it the cases that fall short or behind."""
    if not found:
        return "no gate is about these cases"
    rows = [("gate", "math", "threads", "against", "asked", "cases", "mean [interval]", "least", "most", "")]
    notes = []
    for v in found:
        rows.append((v["group"], v["math"], v["threads"], v["peer"], v["asked"], v["cases"],
                     f"{v['mean']:.2f} [{v['low']:.2f}, {v['high']:.2f}]", f"{v['least']:.2f}", f"{v['most']:.2f}",
                     "holds" if v["holds"] else "OUT OF REACH" if v["out_of_reach"] else "DOES NOT HOLD"))
        for word, told in (("short", "short"), ("beyond", "short, of what would be reached at the peak"), ("behind", "behind")):
            if v[word]:
                where = f"{v['group']} {v['math']} against {v['peer']}, {v['threads']} threads"
                notes.append(f"{where}, {told}: {'; '.join(v[word])}")
    from nncore.bench.others import MUCH

    crowded = max(v["others"] for v in found)
    level = min(v["level"] for v in found)
    notes.insert(0, f"Medians of paired ratios; intervals by order statistics of the rounds, {level:.1%}.")
    if any(v["out_of_reach"] for v in found):
        notes.insert(1, "OUT OF REACH: ours would be short at 100 % of the peak of the same run (FMAs, tiles, words of Philox).")
    if crowded > MUCH:
        notes.insert(0, f"Others took up to {crowded:.0%} of the processors: measure again on a machine that is at rest.")
    return "\n".join([table(rows, right=(2, 5, 6, 7, 8)), "", *notes])


def changes(found: dict) -> str:
    """Two runs: the cases that changed, and the verdict on all."""
    rows = [("case", "shape", "math", "threads", "speed", "against", "")]
    for c in sorted(found["cases"], key=lambda c: c["speed"]):
        if c["verdict"] != "same":
            rows.append((c["case"], c["shape"], c["math"], c["threads"], f"{c['speed']:.3f}", c["by"] or "time", c["verdict"]))
    level = f"{1 - found['level']:.0%}"
    told = (f"{found['new']} against {found['old']}: speed {found['speed']:.3f}, geometric mean of {len(found['cases'])} cases; "
            f"signed-rank test p = {found['p']:.2g}: {found['verdict']} at the level of {level}")
    return (table(rows, right=(3, 4)) + "\n\n" if len(rows) > 1 else "no case changed by itself\n\n") + told


def line(row: dict) -> str:
    """Progress: one case."""
    peers = "".join(f", {p['name']} {p['ratio']:.2f}" for p in row["peers"])
    times = f", {_times(row['overhead'])} times a plain step" if "overhead" in row else ""
    times += f", {_times(row['growth'])} times as long" if "growth" in row else ""
    return f"nncore: {row['case']} {row['shape']}, {row['threads']} threads: {time(row['seconds'])}{peers}{times}".rstrip(": ")


def _quality(row: dict) -> str:
    """The error of a kernel, or the worst accuracy of a program."""
    return f"{min(row['accuracy']):.1%} right" if row.get("accuracy") else _error(row["error"])


def _error(x: float | None) -> str:
    return "" if x is None else "exact" if x == 0 else f"{x:.1e}"


def _figure(x: float | None) -> str:
    return "" if not x else f"{x:.1f}" if x >= 10 else f"{x:.2g}"


def time(seconds: float | None) -> str:
    """With a unit."""
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
