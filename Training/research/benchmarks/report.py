"""The report of a benchmark: one line, a JSON file, rows of a table; and its command line."""

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from MorseCore.system.files import prepare_output_directory, write_json, write_text
from Training.research.benchmarks.measuring import Figure, Sample, machine, paired_ratio
from Training.research.shared.commandline import command_line, exit_code, positive

__all__ = ["Report", "arguments", "markdown", "run_benchmark"]

HEAD = "| benchmark | figure | target | | measured |\n|---|---|---|---|---|"


@dataclass
class Report:
    """Filled while a benchmark runs."""

    name: str
    machine: str
    clock: str
    samples: dict[str, Sample] = field(default_factory=dict)
    """What was measured, by what it is."""
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, samples: Mapping[str, Sample]) -> None:
        """Keep measurements and print them."""
        for name, sample in samples.items():
            self.samples[name] = sample
            print(f"  {name:44} {sample}")

    def add_ratio(
        self, name: str, above: Sample, below: Sample, *, target: float, at_least: bool = False
    ) -> None:
        """Add the ratio of two samples that were taken in turn, as a figure with its target."""
        ratio = paired_ratio(above, below)
        self.figures.append(Figure(name, ratio.median, target, "x", at_least, ratio.spread))

    def note(self, text: str) -> None:
        """Keep and print a remark on the figures."""
        self.notes.append(text)
        print(f"  {text}")

    @property
    def line(self) -> str:
        """``name: figure (target …, met|MISSED)``, on one line for several figures as well."""
        if not self.figures:
            return f"{self.name}: not measured ({' '.join(self.notes)})"
        values = ", ".join(map(str, self.figures))
        targets = ", ".join(f"{f.name} {f.target_text}" for f in self.figures)
        missed = [f.name for f in self.figures if not f.is_met]
        verdict = "MISSED" if missed else "met"
        which = f": {', '.join(missed)}" if missed and len(self.figures) > 1 else ""
        return f"{self.name}: {values} (target {targets}, {verdict}{which})"

    def as_json(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Everything, unrounded."""
        return {
            "name": self.name, "machine": self.machine, "clock": self.clock,
            "options": dict(options),
            "samples": {
                name: asdict(s) | {"median": s.median, "spread": s.spread}
                for name, s in self.samples.items()
            },
            "figures": [asdict(f) | {"met": f.is_met} for f in self.figures],
            "notes": self.notes, "line": self.line,
        }  # fmt: skip


def markdown(reports: Sequence[Mapping[str, Any]]) -> str:
    """The table of several reports' JSON."""
    lines = [HEAD]
    for report in reports:
        measured = "; ".join(
            f"{name} {s['median']:.3g} {s['unit']}".strip() for name, s in report["samples"].items()
        )
        if not report["figures"]:
            lines.append(f"| {report['name']} | not measured | | | {' '.join(report['notes'])} |")
        for n, f in enumerate(report["figures"]):
            low, high = f["spread"] or (f["value"], f["value"])
            target = f"{'≥' if f['at_least'] else '≤'} {f['target']:g}{f['unit']}"
            lines.append(
                f"| {report['name'] if n == 0 else ''} | {f['name']}: {f['value']:.3g}{f['unit']} "
                f"[{low:.3g}, {high:.3g}] | {target} | {'met' if f['met'] else '**missed**'} | "
                f"{measured if n == 0 else ''} |"
            )
    return "\n".join(lines) + "\n"


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = command_line(description)
    parser.add_argument("--quick", action="store_true", help="under a minute on two free cores")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: only that it runs")
    parser.add_argument("--repeats", type=positive, metavar="N", help="default: by --quick")
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall",
        help="cpu: seconds of all threads, for a machine that is shared",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=("auto", "fp32"), default="auto",
        help="of overhead, presets, training, engines; auto is bf16 where the hardware has it",
    )  # fmt: skip
    parser.add_argument("--threads", type=positive, metavar="N", help="of torch")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write JSON and Markdown")
    parser.add_argument("--child", metavar="JSON", help=argparse.SUPPRESS)
    return parser


def run_benchmark(
    name: str,
    parser: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace, Report], None],
    *,
    words: Sequence[str] | None = None,
    child: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> int:
    """Measure, write, and end with the one line. Exit code 0 whether targets are met or not."""
    options = parser.parse_intermixed_args(words)
    if options.threads:
        torch.set_num_threads(options.threads)
        os.environ["OMP_NUM_THREADS"] = str(options.threads)  # of the processes that it starts
    if options.child and child:
        print(json.dumps(child(json.loads(options.child))))
        return 0

    def run() -> None:
        if options.output:  # what cannot be written is said before hours of measuring
            prepare_output_directory(options.output)
        cuda = [torch.device("cuda")] if torch.cuda.is_available() else []
        report = Report(name, machine(cuda), options.clock)
        print(f"{name}: {report.machine}, {options.clock} time")
        measure(options, report)
        if options.output:
            _write(report, options)
        print(report.line)

    return exit_code(run)


def _write(report: Report, options: argparse.Namespace) -> None:
    folder = prepare_output_directory(options.output)
    kept = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()}
    data = report.as_json({k: v for k, v in kept.items() if k not in ("output", "child")})
    write_json(folder / f"{report.name}.json", data)
    write_text(folder / f"{report.name}.md", f"{markdown([data])}\n{report.machine}\n")
    print(f"written: {folder / report.name}.json, {report.name}.md")
