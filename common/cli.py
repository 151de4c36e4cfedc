"""The command line of an app, built from its settings: train, evaluate, predict, explain, export, serve and more."""

import contextlib
import dataclasses
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import tyro
from rich.console import Console
from tyro import _errors as parsing  # tyro's own door for applications that word their errors themselves
from tyro.conf import OmitArgPrefixes, Positional

from common import terminal
from common.app import App, Config, Question
from common.choices import Format
from common.errors import UserError
from common.ports import Port

if TYPE_CHECKING:
    import pandas as pd

    from common.training import Result

# Training and all that it imports take seconds to load, so each command imports what it needs once it is sure to run.

SHOWN = 15
"""Rows of a table that are shown on the terminal."""

Model = Annotated[str | None, tyro.conf.arg(metavar="RUN|NAME@ALIAS|PATH")]


def main(app: App, description: str | None = None) -> None:
    """Run the command that the command line names."""

    def train(settings: Config) -> None:
        """Train, evaluate once on the test set, record and register the model."""
        from common import training

        summarise(app, training.train(app, settings))

    def baseline(settings: Config) -> None:
        """Fit the classical baseline on the same split and record it beside the network."""
        from common import training

        for name, result in training.baseline(app, settings).items():
            summarise(app, result, name)

    def evaluate(model: Model = None) -> None:
        """Measure a saved model on the test set again; nothing is recorded.

        Args:
            model: The model: a run's id, a registered NAME@ALIAS or NAME/VERSION, or a path; by default the newest one.
        """
        from common import training

        label, result = training.evaluate(app, model)
        Console().print(terminal.pairs({"model": label, **app.task.summary(result.metrics, result.test_examples)}))

    def predict(
        files: Positional[tuple[str, ...]], question: Question, model: Model = None, output: Path | None = None
    ) -> None:
        """Predict for new examples.

        Args:
            files: The examples, as the app's description says: files, folders, or words.
            question: What else the app lets one ask.
            model: The model: a run's id, a registered NAME@ALIAS or NAME/VERSION, or a path; by default the newest one.
            output: Write the whole answer to this .csv or .json file instead of the terminal.
        """
        _predict(app, files, question, model, output)

    def export(
        form: Annotated[Format, tyro.conf.arg(name="format")],
        output: Path,
        quantize: bool = False,
        model: Model = None,
    ) -> None:
        """Write a saved model in another format, and see that it answers as Keras does.

        Args:
            form: Keras's own file, TensorFlow's SavedModel, ONNX, or LiteRT.
            output: The folder to make.
            quantize: Compute with int8 numbers in LiteRT, and measure what that costs on the test set.
            model: The model: a run's id, a registered NAME@ALIAS or NAME/VERSION, or a path; by default the newest one.
        """
        _export(app, form, output, quantize, model)

    def serve(model: Model = None, port: Port = 5001) -> None:
        """Answer over HTTP on 127.0.0.1 until Ctrl-C.

        Args:
            model: The model: a run's id, a registered NAME@ALIAS or NAME/VERSION, or a path; by default the champion.
            port: Where on 127.0.0.1.
        """
        from common import serving

        serving.serve(app, model, port)

    def request(files: Positional[tuple[str, ...]], question: Question, model: Model = None) -> None:
        """Print the JSON by which a served model is asked for new examples.

        Args:
            files: The examples, as for predict.
            question: What else the app lets one ask.
            model: The model that is asked, as for predict.
        """
        question.check(app, files)
        from common import serving, tracking

        print(serving.request(question.read(app, files, tracking.load(app.name, model))[1]))

    def explain(
        files: Positional[tuple[str, ...]] = (),
        target: str | None = None,
        model: Model = None,
        output: Path | None = None,
    ) -> None:
        """Show which parts of an example its answer is due to; of a table's model, without files, which columns count.

        Args:
            files: The examples, as predict takes them.
            target: Class or quantity to explain; by default the answered class, or the first quantity.
            model: The model: a run's id, a registered NAME@ALIAS or NAME/VERSION, or a path; by default the newest one.
            output: Folder to write the pictures and tables to, beside the model's run.
        """
        _explain(app, files, target, model, output)

    # The flags of these come from the app's own settings and questions.
    train.__annotations__["settings"] = baseline.__annotations__["settings"] = app.config
    predict.__annotations__["question"] = request.__annotations__["question"] = app.question
    commands: dict[str, Callable[..., None]] = {
        "train": train,
        "evaluate": evaluate,
        "predict": predict,
        "explain": explain,
        "baseline": baseline,
        "export": export,
        "serve": serve,
        "request": request,
    }
    with plain_errors():
        tyro.extras.subcommand_cli_from_dict(
            commands,
            prog=f"python -m apps.{app.name}",
            description=description,
            config=(OmitArgPrefixes,),
        )


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Around a whole command: end it in one line on stderr and an exit status, never a traceback for what a user did.

    Status 2: a mistake that the user can mend; 130 and 143: stopped by Ctrl-C and SIGTERM, after unwinding.
    """
    signal.signal(signal.SIGTERM, _terminated)
    try:
        with parsing.on_parse_error(_reword):
            yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def _terminated(signum: int, _frame: FrameType | None) -> NoReturn:
    """Unwind, so that the run is marked, where a bare SIGTERM would just end the process."""
    sys.exit(128 + signum)


def _reword(event: parsing.ParseErrorEvent) -> None:
    """Say what is wrong with the command line in one line."""
    match event:
        case parsing.UnrecognizedArgs():
            what = f"unknown option {' '.join(event.tokens)}"
        case parsing.MissingArgs():
            what = f"missing {', '.join(argument.arg.display_name() for argument in event.missing_arguments)}"
        case parsing.MissingSubcommand():
            what = f"no command {event.found_token!r}" if event.found_token else "no command given"
        case parsing.InvalidChoice():
            what = f"{event.argument.display_name()} must be one of {', '.join(event.choices)}, not {event.value}"
        case parsing.BadValue():
            what = f"{event.argument.display_name()} needs a value"
        case parsing.InstantiationFailure():
            message = event.message.splitlines()[0]  # where a type is one of several, the rest says why it is none
            what = f"{event.argument.display_name()}: {message}" if event.argument else message
        case _:
            return
    raise UserError(f"{what}; see {event.prog} --help")


def summarise(app: App, result: "Result", what: str | None = None) -> None:
    """Say what a finished run measured, where it is, and what to type next."""
    from common import tracking

    figures = result.metrics
    training = f"{figures['train_seconds']:.0f} s ({figures['train_cpu_seconds']:.0f} CPU s)"
    if "best_epoch" in figures:
        speed = f"{figures['examples_per_second']:,.0f} examples/s"
        training += f", {speed}, best epoch {figures['best_epoch']:.0f}"
    summary = app.task.summary(figures, result.test_examples)
    rows = {f"{what or app.name} on {result.data}": "", **summary, "training": training}
    if result.verdicts:
        rows["diagnosis"] = "\n".join(result.verdicts)
    following = ["make ui"]
    if version := result.version:
        standing = "the champion" if version.champion is None else f"champion stays version {version.champion}"
        rows["model"] = f"{version.name} version {version.number}, {standing}"
        python = terminal.this_python()
        following += [f"{python} -m apps.{app.name} predict FILE...", f"{python} -m tuning.{app.name}"]
    rows |= {"run": str(result.run_id), "recorded in": tracking.folder(), "next": "\n".join(following)}
    for name, frame in result.tables.items():
        # As many rows as fit on a screen; all of them are in the run's artifacts.
        Console().print(terminal.sheet(frame.head(SHOWN), f"{name}, {min(SHOWN, len(frame))} of {len(frame):,}"))
    Console().print(terminal.pairs(rows))


def _predict(app: App, files: tuple[str, ...], question: Question, which: str | None, output: Path | None) -> None:
    question.check(app, files)
    if output and output.suffix not in (".csv", ".json"):
        raise UserError(f"--output {output}: the name must end in .csv or .json")
    _check_place(output)
    from common import tracking, training

    saved = tracking.load(app.name, which)
    names, inputs = question.read(app, files, saved)
    task = dataclasses.replace(app.task, **saved.task)
    answers = question.answers(task, names, inputs, training.predict(saved.model, inputs), saved.outputs)
    if output:
        write("--output", output, answers)
        print(f"{len(answers)} predictions of {saved.label} in {output}")
        return
    details = answers.columns.intersection(list(saved.outputs))
    shown = answers.drop(columns=details) if len(details) < answers.shape[1] - 1 else answers
    Console().print(terminal.sheet(shown, saved.label))


def _export(app: App, form: Format, output: Path, quantize: bool, which: str | None) -> None:
    _check_place(output)
    from common import export

    print(f"writing {form} and asking it, which takes a while …", flush=True)
    made = export.export(app, which, form, output, quantize)
    size = f"{made.size:,} bytes" + (f", {made.float_size:,} with float32" if quantize else "")
    if made.figures is not None:
        Console().print(terminal.sheet(made.figures, "what int8 costs"))
    rows = {
        "model": made.label,
        form: f"{made.file}, {size}",
        "from Keras's answers": f"{made.difference:.1e} at most, {made.compared} test examples",
        "next": export.LOADING[form].format(str(made.file)),
    }
    Console().print(terminal.pairs(rows))


def _explain(app: App, files: tuple[str, ...], target: str | None, which: str | None, output: Path | None) -> None:
    _check_place(output)
    if output and output.exists() and not output.is_dir():
        raise UserError(f"--output {output}: a file; name a folder")
    from common import explanation, tracking

    explained = explanation.explain(app, files, which, target)
    recorded = tracking.attach(explained.run_id, "explain", explained.figures, explained.tables)
    if output:
        try:
            output.mkdir(exist_ok=True)
            for name, figure in explained.figures.items():
                figure.savefig(output / f"{name}.png")
            for name, table in explained.tables.items():
                table.to_csv(output / f"{name}.csv", index=False)
        except OSError as error:
            raise UserError(f"--output {output}: cannot write ({error.strerror})") from error
    Console().print(terminal.sheet(explained.summary, explained.label))
    for note in explained.notes:
        Console().print(note, highlight=False)
    places = [str(output)] if output else []
    places += [f"run {explained.run_id}, artifacts, explain/; see make ui"] if recorded else []
    Console().print(
        terminal.pairs(
            {
                "pictures and tables": "\n".join(places)
                or "nowhere: the model's run is not in this store; add --output FOLDER"
            }
        )
    )


def _check_place(output: Path | None) -> None:
    """See that what `--output` names can be made."""
    if output and not output.absolute().parent.is_dir():
        raise UserError(f"--output {output}: there is no folder {output.parent}")


def write(flag: str, output: Path, answers: "pd.DataFrame") -> None:
    """Write a table into the file that `flag` names, .csv or else a list of objects; all of it or nothing.

    Raises:
        UserError: where it cannot be written.
    """
    temporary = output.with_name(f".{output.name}.partial")
    try:
        if output.suffix == ".csv":
            answers.to_csv(temporary, index=False)
        else:
            answers.to_json(temporary, orient="records", indent=2, double_precision=15)
        temporary.replace(output)
    except OSError as error:
        raise UserError(f"{flag} {output}: cannot write ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)
