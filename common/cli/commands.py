"""The command line of an app, built from its settings: train, evaluate, predict, explain, export, serve and more."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional

from common import lazy, legacy
from common.app import App, PredictOptions
from common.cli import like as repeating
from common.cli import resuming, terminal
from common.cli.machines import ONE_DEVICE, Machines
from common.cli.parsing import plain_errors
from common.config import Positive
from common.errors import UserError, print_notes, writing
from common.files import replacing, write
from common.serving import http
from common.serving.export import LOADING, Format

Model = Annotated[
    str | None,
    tyro.conf.arg(
        metavar="RUN|NAME@ALIAS|PATH",
        help="Model to use: a run's id, a registered NAME (its champion), NAME@ALIAS or NAME/VERSION, or a path. "
        "By default the champion on the data that the app was last trained on.",
    ),
]


def main(app: App, description: str | None = None) -> None:
    """Run the command that the command line names.

    Args:
        app: The app.
        description: Description of the app for --help.
    """
    arguments = resuming.complete(legacy.flags(sys.argv[1:]))
    with plain_errors():
        run_id, recorded = resuming.find(app, arguments)
        repeated = repeating.find(app, arguments)
        if recorded and repeated:
            raise UserError("--resume and --like exclude each other: a resumed training has the settings of its run")

    def train(
        settings: app.settings,  # type: ignore[name-defined]
        resume: Annotated[str | None, tyro.conf.arg(metavar="[RUN]")] = None,
        like: Annotated[str | None, tyro.conf.arg(metavar="RUN|FILE")] = None,
        checkpoint_minutes: Positive = 10,
        baseline: bool = True,
        animation: Annotated[Path | None, tyro.conf.arg(metavar="FILE.gif")] = None,
        tensorboard: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None,
        machines: Machines = ONE_DEVICE,
    ) -> None:
        """Train, evaluate once on the test set, record and register the model.

        Args:
            settings: Settings of the data, the network and the training.
            resume: Go on with an interrupted training, with the settings of its run; without RUN, with the newest.
            like: Take the settings of a run, or of a JSON file such as its settings.json; other flags change them.
            checkpoint_minutes: Longest time in minutes without a checkpoint, within an epoch.
            baseline: Compare with the classical baselines on the same data, and fit them if this takes seconds.
            animation: Draw the network after each epoch, as an animation; for the apps that have one.
            tensorboard: Write logs for TensorBoard into this folder.
            machines: Devices and hosts that share the training.
        """
        lazy.use_backend(settings.backend)
        if like:
            given = [name for name, value in vars(settings).items() if value != getattr(repeated, name)]
            print_notes([f"the settings are those of {like}" + (f", except {', '.join(given)}" if given else "")])
        if resume and recorded:
            resuming.check(run_id or "", settings, recorded)
        machines.check()
        going_on = run_id if resume else None
        if machines.cluster and machines.hosts != "auto":  # `check` has refused auto
            from common.cli.launching import Launch

            options = {
                "checkpoint_minutes": checkpoint_minutes,
                "baseline": baseline,
                "animation": animation,
                "tensorboard": tensorboard,
            }
            shared = machines.cluster, machines.hosts, machines.restarts, machines.devices
            Launch(app, settings, going_on, *shared, options).train()
            return
        from common import training
        from common.training import hosts

        watching = training.Watching(animation, tensorboard)
        with hosts.joined(machines.hosts, machines.host, machines.coordinator):
            if hosts.follows():
                training.assist(app, settings, bool(resume), machines.devices)
                return
            with resuming.command_after_interruption(app):
                result = training.train(
                    app, settings, going_on, checkpoint_minutes, baseline, watching, requested=machines.devices
                )
            terminal.summarise(app, result, settings=settings, more=watching.commands)

    def check(settings: app.settings) -> None:  # type: ignore[name-defined]
        """Look at the data without training: its content, problems, and the reader's decisions."""
        lazy.use_backend(settings.backend)
        from common.cli import check as data_check

        data_check.check(app, settings)

    def baseline(settings: app.settings) -> None:  # type: ignore[name-defined]
        """Fit the classical baseline on the same split and record it beside the network."""
        lazy.use_backend(settings.backend)
        from common import training

        for name, result in training.baseline(app, settings).items():
            terminal.summarise(app, result, name)

    def evaluate(model: Model = None) -> None:
        """Measure a saved model on the test set again; nothing is recorded."""
        from common import training

        label, result = training.evaluate(app, model)
        summary = result.task.summary(result.metrics, result.test_examples)
        Console().print(terminal.key_values({"model": label, **summary}))

    def predict(
        files: Positional[tuple[str, ...]],
        options: app.predict_options,  # type: ignore[name-defined]
        model: Model = None,
        output: Path | None = None,
    ) -> None:
        """Predict for new examples.

        Args:
            files: The examples in the form that the app's description gives: files, folders, or words.
            options: The app's own options.
            model: Model to use.
            output: Write all predictions to this .csv or .json file instead of the terminal.
        """
        _predict(app, files, options, model, output)

    def export(
        form: Annotated[Format, tyro.conf.arg(name="format")],
        output: Path,
        quantize: bool = False,
        model: Model = None,
    ) -> None:
        """Write a saved model in another format, and check that its outputs are those of Keras.

        Args:
            form: Keras's own file, TensorFlow's SavedModel, ONNX, or LiteRT.
            output: The folder to create.
            quantize: Use int8 numbers in LiteRT, and compare the test metrics.
            model: Model to use.
        """
        _export(app, form, output, quantize, model)

    def serve(
        model: Model = None, port: http.Port = 5001, address: str = "127.0.0.1", allowed_hosts: tuple[str, ...] = ()
    ) -> None:
        """Serve a saved model over HTTP until Ctrl-C.

        Args:
            model: Model to use.
            port: Port of this machine.
            address: Address to listen at; 0.0.0.0 for all addresses of this machine, as a container needs.
            allowed_hosts: More names that requests may have in their header Host, such as the name of a proxy.
        """
        http.serve(app, model, port, allowed_hosts, address)

    def request(
        files: Positional[tuple[str, ...]],
        options: app.predict_options,  # type: ignore[name-defined]
        model: Model = None,
    ) -> None:
        """Print the JSON of a request to a served model for predictions of new examples.

        Args:
            files: The examples, as for predict.
            options: The app's own options.
            model: Model to use.
        """
        options.check(app, files)
        from common import tracking

        examples = options.read(app, files, tracking.load(app.name, model))
        print_notes(examples.notes)
        print_notes(f"{examples.names[row]}: {reason}; not in the request" for row, reason in examples.unusable.items())
        print(http.request(examples.inputs))

    def explain(
        files: Positional[tuple[str, ...]] = (),
        target: str | None = None,
        model: Model = None,
        output: Path | None = None,
    ) -> None:
        """Show how much each part of an example contributes to its prediction; without files, each column of a table.

        Args:
            files: The examples, as for predict.
            target: Class or quantity to explain; by default the predicted class, or the first quantity.
            model: Model to use.
            output: Folder for the figures and tables, in addition to the model's run.
        """
        _explain(app, files, target, model, output)

    def group(
        files: Positional[tuple[str, ...]] = (),
        groups: int | None = None,
        model: Model = None,
        output: Path = Path("groups"),
    ) -> None:
        """Sort examples into groups of similar ones, without labels: k-means on the features of a saved model.

        Args:
            files: The examples, as for predict; by default the test set of the model.
            groups: Number of groups; by default the one with the clearest groups, by the silhouette.
            model: Model to use; an app with a pretrained network also has it by the name pretrained.
            output: Folder for groups.html, a page with examples of each group, and groups.csv, the group of each file.
        """
        _group(app, files, groups, model, output)

    if usual := recorded or repeated:  # the flags that are not given have these values
        train.__defaults__ = (usual, *(train.__defaults__ or ()))
    commands = (check, train, evaluate, predict, explain, group, baseline, export, serve, request)
    by_name: dict[str, Callable[..., None]] = {command.__name__: command for command in commands}
    with plain_errors({name: [command] for name, command in by_name.items()}):
        tyro.extras.subcommand_cli_from_dict(
            by_name,
            prog=f"python -m apps.{app.name}",
            description=description,
            args=arguments,
            config=(OmitArgPrefixes,),
        )


def _predict(app: App, files: tuple[str, ...], options: PredictOptions, which: str | None, output: Path | None) -> None:
    options.check(app, files)
    terminal.check_output(output, ".csv", ".json")
    from common import tracking, training

    saved = tracking.load(app.name, which)
    examples = options.read(app, files, saved)
    print_notes(examples.notes)
    predictions = training.predict(saved.model, examples.inputs)
    answers = options.answers(app.task_of(saved), examples, predictions, saved.outputs)
    if output:
        terminal.write("--output", output, answers)
        without = f"; {len(examples.unusable)} rows have none, for the reason in the column problem"
        made = len(answers) - len(examples.unusable)
        print(f"{made} predictions of {saved.label} in {output}{without if examples.unusable else ''}")
        return
    details = answers.columns.intersection(list(saved.outputs))
    shown = answers.drop(columns=details) if len(details) < answers.shape[1] - 1 else answers
    Console().print(terminal.table(shown, saved.label))


def _export(app: App, form: Format, output: Path, quantize: bool, which: str | None) -> None:
    terminal.check_output(output)
    from common.serving import export

    print(f"writing {form} and checking it; this takes a while …", flush=True)
    made = export.export(app, which, form, output, quantize)
    size = f"{made.size:,} bytes" + (f", {made.float_size:,} with float32" if quantize else "")
    if made.metrics is not None:
        Console().print(terminal.table(made.metrics, "effect of int8"))
    rows = {
        "model": made.label,
        form: f"{made.file}, {size}",
        "difference from Keras": f"{made.difference:.1e} at most, {made.compared} test examples",
    }
    if made.converter:
        rows["text"] = f"{made.file.with_name('inputs.py')} converts it: from inputs import convert"
    rows["next"] = LOADING[form].format(str(made.file))
    Console().print(terminal.key_values(rows))


def _group(app: App, files: tuple[str, ...], number: int | None, which: str | None, output: Path) -> None:
    terminal.check_output_folder(output)
    from common.explain import groups

    grouped = groups.group(app, files, which, number)
    page, table = output / "groups.html", output / "groups.csv"
    with writing(f"--output {output}"):
        output.mkdir(exist_ok=True)
        write(page, grouped.page.encode())
    terminal.write("--output", table, grouped.table)
    Console().print(terminal.table(grouped.summary, f"groups of {grouped.noun}"))
    written = {"page": f"{page}, examples of each group", "table": f"{table}, the group of all {grouped.noun}"}
    Console().print(terminal.key_values({"features": grouped.features, **grouped.facts, **written}))
    options = [*(["--model", which] if which else []), *(["--output", str(output)] if output != Path("groups") else [])]
    command = shlex.join(["-m", f"apps.{app.name}", "group", *files, *options])
    terminal.print_next([f"open {page} in a browser", f"{terminal.this_python()} {command} --groups N"])


def _explain(app: App, files: tuple[str, ...], target: str | None, which: str | None, output: Path | None) -> None:
    terminal.check_output_folder(output)
    from common import explain, tracking

    explained = explain.explain(app, files, which, target)
    recorded = tracking.attach(explained.run_id, "explain", explained.figures, explained.tables)
    if output:
        with writing(f"--output {output}"):
            output.mkdir(exist_ok=True)
            for name, figure in explained.figures.items():
                with replacing(output / f"{name}.png") as temporary:
                    figure.savefig(temporary, format="png")
            for name, table in explained.tables.items():
                with replacing(output / f"{name}.csv") as temporary:
                    table.to_csv(temporary, index=False)
    Console().print(terminal.table(explained.summary, explained.label))
    for note in explained.notes:
        Console().print(note, highlight=False)
    places = [str(output)] if output else []
    places += [f"run {explained.run_id}, artifacts, explain/; see make ui"] if recorded else []
    places = places or ["nowhere: the model's run is not in this store; add --output FOLDER"]
    Console().print(terminal.key_values({"figures and tables": "\n".join(places)}))
