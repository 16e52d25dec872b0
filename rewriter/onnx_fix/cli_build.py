"""The command ``onnx-fix build``, and the same behind ``onnx-fix MODEL -o FIXED --engine``."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from onnx_fix.cli_errors import errors
from onnx_fix.cli_options import (
    Capabilities,
    PrecisionName,
    Quiet,
    RangesConfig,
    force_option,
    inputs_option,
    profile_option,
    read_config,
    target_option,
    verbose_option,
)
from onnx_fix.cli_output import write_text
from onnx_fix.errors import OnnxFixError, UsageError

if TYPE_CHECKING:
    from onnx_fix.building import BuildResult, BuildSettings
    from onnx_fix.pipeline import Pipeline
    from onnx_fix.profiles import Asked
    from onnx_fix.profiles.collect import Collected
    from onnx_fix.target import Target

BUILD_EXIT_CODES = (
    "Exit codes: 0 built, also where fp16 failed and fp32 was built, which is said; 1 the parser "
    "or the builder refuses the model (explained); 2 wrong usage, a bad file, no usable TensorRT, "
    "or an engine that cannot be written; 4 a fault of onnx-fix itself; 5 the builder crashed or "
    "ran into a limit, which says nothing of the model."
)

_CAPABILITY = "--compute-capability"


class SeveralCapabilities(TyperCommand):
    """``--compute-capability 8.6 8.9`` means the option twice."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        made: list[str] = []
        for text in args:
            following = len(made) > 1 and made[-2] == _CAPABILITY
            if following and re.fullmatch(r"\d+\.\d", text):
                made.append(_CAPABILITY)
            made.append(text)
        return super().parse_args(ctx, made)


def settings_of(
    *,
    precision: str = "as-is",
    capabilities: Sequence[str] = (),
    workspace: str | None = None,
    time_limit: str | None = None,
    memory_limit: str | None = None,
    bisect_limit: str | None = None,
    **others: Any,
) -> BuildSettings:
    """The settings that options mean.

    Raises:
        UsageError: an option has another form, or a value that is none.
    """
    from onnx_fix.building import BuildSettings
    from onnx_fix.building.settings import PRECISIONS, parse_bytes, parse_seconds

    chosen = next((p for p in PRECISIONS if p == precision), None)
    if chosen is None:
        raise UsageError(f"--precision {precision}: choose {', '.join(PRECISIONS)}")
    given: dict[str, Any] = {k: v for k, v in others.items() if v is not None}
    if workspace is not None:
        given["workspace"] = parse_bytes(workspace, "--workspace")
    if time_limit is not None:
        given["time_limit"] = parse_seconds(time_limit, "--time-limit")
    if bisect_limit is not None:
        given["bisect_limit"] = parse_seconds(bisect_limit, "--bisect-limit")
    if memory_limit is not None:
        none = memory_limit.strip().lower() == "none"
        given["memory_limit"] = 0 if none else parse_bytes(memory_limit, "--memory-limit")
    split = [one for text in capabilities for one in re.split(r"[,\s]+", text.strip()) if one]
    return BuildSettings(precision=chosen, compute_capabilities=tuple(split), **given)


@contextmanager
def stoppable() -> Iterator[None]:
    """Have a polite request to end do what Ctrl-C does: end the builder and clean up."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    names = ("SIGTERM", "SIGHUP")
    before = {}
    for number in [getattr(signal, name) for name in names if hasattr(signal, name)]:
        with suppress(ValueError):  # not in the main thread
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class EngineJob:
    """An engine that is to be built from a model that is still to be fixed."""

    engine: Path
    target: Target
    texts: tuple[str, ...]
    asked: tuple[tuple[Asked, ...], ...]
    pipeline: Pipeline | None
    inputs: Path | None
    settings: BuildSettings
    force: bool

    @classmethod
    def of(
        cls,
        engine: Path,
        *,
        model: Path,
        output: Path,
        target: str | None,
        config: Path | None,
        profiles: Sequence[str],
        inputs: Path | None,
        settings: BuildSettings,
        changes_inputs: bool,
        force: bool,
    ) -> EngineJob:
        """What can be found out before the model is fixed.

        Raises:
            UsageError: the engine may not be written, no TensorRT of this machine builds it, or
                a profile does not suit the model.
            ModelError: the model cannot be read.
        """
        from onnx_fix.building import choose_builder
        from onnx_fix.building.run import check_engine_path
        from onnx_fix.load import load_proto
        from onnx_fix.pipeline import named_target
        from onnx_fix.profiles import parse_profiles
        from onnx_fix.profiles.collect import collect

        if engine.resolve() == output.resolve():
            raise UsageError(f"{engine} is to be both the model and the engine; choose another")
        check_engine_path(engine, model if model.exists() else None, force=force)
        pipeline = read_config(config)
        _, chosen = choose_builder(named_target(target, pipeline))
        asked = parse_profiles(profiles)
        if not changes_inputs and pipeline is None:
            # The fixed model has the inputs of the original, so that faults show at once.
            collect(load_proto(model), profiles, pipeline, inputs)
        texts = tuple(profiles)
        return cls(engine, chosen, texts, asked, pipeline, inputs, settings, force)

    def build(self, model: Path, *, quiet: bool, verbose: int) -> BuildResult:
        """Build the engine of the fixed model, which stays whatever comes of it; say how it went.

        Raises:
            OnnxFixError: as `onnx_fix.building.build`.
            Exit: the user interrupts it.
        """
        try:
            built = self._build(model, quiet, verbose)
        except KeyboardInterrupt:
            typer.echo(f"interrupted; {model} is written, and no engine", err=True)
            raise typer.Exit(130) from None
        except OnnxFixError as error:
            error.args = (f"{error}\n{model} is written, and no engine", *error.args[1:])
            raise
        if built.exit_code:
            typer.echo(f"{model} is written, and no engine", err=True)
        return built

    def _build(self, model: Path, quiet: bool, verbose: int) -> BuildResult:
        from onnx_fix.load import load_proto
        from onnx_fix.profiles.collect import collect

        found = collect(load_proto(model), self.texts, self.pipeline, self.inputs)
        return build_and_print(
            model, self.engine, target=self.target, profiles=found, settings=self.settings,
            force=self.force, quiet=quiet, verbose=verbose,
        )  # fmt: skip


def build_and_print(
    model: Path, engine: Path, *, profiles: Collected, quiet: bool, verbose: int, **options: Any
) -> BuildResult:
    """Build with a progress display, and print how it went."""
    from onnx_fix.building import build
    from onnx_fix.render_build import render_build, show_progress

    if not quiet:
        for note in profiles.notes:
            typer.echo(note, err=True)
    with stoppable(), show_progress(quiet) as tell:
        result = build(model, engine, profiles=profiles.profiles, progress=tell, **options)
    render_build(result, verbose=verbose, quiet=quiet)
    return result


def register(app: typer.Typer) -> None:
    """Add the command to the program."""

    @app.command(name="build", cls=SeveralCapabilities, epilog=BUILD_EXIT_CODES)
    def build_command(
        model: Annotated[Path, typer.Argument(metavar="MODEL", help="The fixed model.")],
        output: Annotated[
            Path, typer.Option("--output", "-o", metavar="ENGINE", help="The engine to write.")
        ],
        target: Annotated[
            str,
            target_option("The release, which must be installed; auto: what is."),
        ] = "auto",
        profile: Annotated[
            list[str] | None,
            profile_option(
                "Sizes of dynamic inputs: n=1:16:64,x=1x3:4x3:8x3, shape values: s=[2]:[4]:[8]"
                ", or a YAML file. May be repeated for several profiles."
            ),
        ] = None,
        inputs: Annotated[
            Path | None,
            inputs_option("Folder of npz or npy samples: sizes for what --profile leaves open."),
        ] = None,
        config: RangesConfig = None,
        precision: PrecisionName = "as-is",
        fp16: Annotated[bool, typer.Option("--fp16", help="The same as --precision fp16.")] = False,
        workspace: Annotated[
            str | None, typer.Option("--workspace", help="For temporary data: 512M, 4G, or MiB.")
        ] = None,
        timing_cache: Annotated[
            Path | None,
            typer.Option("--timing-cache", help="File of timings, read and written anew."),
        ] = None,
        optimization_level: Annotated[
            int | None,
            typer.Option("--optimization-level", help="0 builds fastest, 5 runs fastest."),
        ] = None,
        version_compatible: Annotated[
            bool,
            typer.Option("--version-compatible", help="An engine that later releases run, too."),
        ] = False,
        compute_capability: Capabilities = None,
        plugin_library: Annotated[
            list[Path] | None,
            typer.Option("--plugin-library", help="Library to load. May be repeated."),
        ] = None,
        time_limit: Annotated[
            str | None, typer.Option("--time-limit", help="For one build: 90, 15m, 2h.")
        ] = None,
        memory_limit: Annotated[
            str | None,
            typer.Option(
                "--memory-limit", help="8G, MiB, or none; by default nine tenths of what is free."
            ),
        ] = None,
        bisect_limit: Annotated[
            str | None,
            typer.Option(
                "--bisect-limit",
                help="Time to look for the layers at fault where fp16 fails; 0 not at all.",
            ),
        ] = None,
        report: Annotated[
            Path | None,
            typer.Option("--report", help="Write what came of it as JSON, also of a failure."),
        ] = None,
        force: Annotated[bool, force_option("Replace the engine if it exists.")] = False,
        verbose: Annotated[int, verbose_option("Print warnings, all nodes.")] = 0,
        quiet: Quiet = False,
    ) -> None:
        """Build an engine from a fixed MODEL with the TensorRT of this machine."""
        with errors():
            from onnx_fix.building.run import check_engine_path
            from onnx_fix.load import load_proto
            from onnx_fix.profiles.collect import collect
            from onnx_fix.save import check_output

            if fp16 and precision not in ("as-is", "fp16"):
                raise UsageError(f"--fp16 and --precision {precision} contradict each other")
            settings = settings_of(
                precision="fp16" if fp16 else precision,
                capabilities=compute_capability or (),
                workspace=workspace,
                time_limit=time_limit,
                memory_limit=memory_limit,
                bisect_limit=bisect_limit,
                timing_cache=timing_cache,
                optimization_level=optimization_level,
                version_compatible=version_compatible,
                plugins=tuple(plugin_library or ()),
            )
            source = model if model.exists() else None
            check_engine_path(output, source, force=force)
            if report is not None:
                check_output(report, source, force=True)
            proto = load_proto(model)
            pipeline = read_config(config)
            result = build_and_print(
                model,
                output,
                target=target,
                profiles=collect(proto, profile or (), pipeline, inputs),
                settings=settings,
                force=force,
                quiet=quiet,
                verbose=verbose,
            )
            if report is not None:
                write_text(report, json.dumps(result.to_dict(), indent=1) + "\n")
            if result.exit_code:
                raise typer.Exit(result.exit_code)
