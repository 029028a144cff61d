"""Does what an experiment's timeline says, on a lab. Whoever drives the lab's clock runs it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

from lab import spec
from lab.backends.base import Lab
from lab.backends.until import EVENT, OPERATIONS, TIME, EventFilter, Stopped, Until
from lab.experiments import actions
from lab.experiments.actions import When
from lab.experiments.expectations import Evidence, Stream
from lab.experiments.spec import Experiment, Step
from lab.operations import Operation
from lab.trace.event import Event
from nodes.base.errors import FailedPrecondition, NotFound, TcplabError

#: Yields what to advance to, is sent why that stopped.
Steps = Generator[Until, Stopped, None]


class Script:
    """One run of an experiment's apps and timeline.

    `run()` is driven so: for each Until it yields, advance the lab and send the result (or throw the error) back.
    `problems` says in words what kept the timeline from being done as it is written.
    """

    def __init__(self, experiment: Experiment, lab: Lab) -> None:
        self.experiment = experiment
        self.lab = lab
        self.problems: list[str] = []
        #: Instants of the file count from here: a real-time lab has been made by then, which took a while.
        self._origin_ns = lab.now()
        self._stop_ns = self._origin_ns + experiment.stop.time_ns
        self._listeners: dict[str, tuple[str, int]] = {}
        self._connections: dict[str, Operation] = {}
        self._operations: dict[str, Operation] = {}
        self._streams: dict[tuple[str, int], Stream] = {}
        self._receives: list[tuple[tuple[str, int], Operation]] = []
        self._watch: _Watch | None = None
        self._actions: dict[type, Callable[[Any], Steps]] = {
            actions.Send: self._send,
            actions.Receive: self._receive,
            actions.Shutdown: self._shutdown,
            actions.Close: self._close,
            actions.Abort: self._abort,
            actions.SetOptions: self._set_options,
        }

    def run(self) -> Steps:
        """The whole experiment, apps and timeline, to its stop."""
        lab = self.lab
        for link, change in self.experiment.links.items():
            for rule in change.rules:
                lab.add_rule(link, rule)
        for app in self.experiment.apps:
            lab.start_app(app.node, app.kind, spec.plain(app.app), app.name)
        timeline = self.experiment.timeline
        for index, step in enumerate(timeline):
            following = timeline[index + 1].when if index + 1 < len(timeline) else None
            try:
                done = yield from self._step(step, following)
            except TcplabError as error:
                self.problems.append(f"timeline[{index}]: {error}")
                break
            if not done:
                waited = f"it waited for {_words(step)}" if lab.now() >= self._stop_ns else "nothing was left to happen"
                self.problems.append(
                    f"timeline[{index}] was not reached by {_seconds(lab.now() - self._origin_ns)}: {waited}"
                )
                return
        stop = self.experiment.stop
        try:
            if stop.when is not None:
                yield from self._wait(Step(when=stop.when))
            elif lab.now() < self._stop_ns:
                yield Until(time_ns=self._stop_ns, idle=True, apps=tuple(lab.apps) if stop.apps else ())
        except TcplabError as error:
            self.problems.append(f"stop: {error}")

    def evidence(self) -> Evidence:
        """What happened to everything that has a name, for expectations. To be asked when the lab is closed."""
        labels: dict[str, list[tuple[str, int]]] = {}
        failures: dict[str, str] = {}
        for label, operation in self._connections.items():
            if operation.connection:
                labels[label] = [(operation.node, operation.connection)]
                error = self.lab.status(operation.node, operation.connection).error
                if error or operation.done:
                    failures[label] = error or _error_name(operation.error)
        for label, operation in self._operations.items():
            labels.setdefault(label, [(operation.node, operation.connection)])
            if operation.done:
                failures[label] = _error_name(operation.error)
        for key, operation in self._receives:
            if operation.done and operation.error is None:
                self._stream(key).received.append((operation.result.length, operation.result.sha256))
        for name, app in self.lab.apps.items():
            labels[name] = [(app.node, number) for number in app.connections]
            if len(app.connections) == 1:
                self._digests(labels[name][0], app.results)
            if app.done:
                failures[name] = app.error or "none"
        delivered = {}
        for node in self.lab.nodes:
            for status in self.lab.connections(node):
                delivered[node, status.number] = status.bytes_received - status.rcv_queue
        return Evidence(self.lab.sink.path, labels, self._streams, delivered, failures)

    def _digests(self, key: tuple[str, int], results: Mapping[str, Any]) -> None:
        """What an app with one connection says of its bytes."""
        if "sent_sha256" in results:
            self._stream(key).sent_digest = results["sent_bytes"], results["sent_sha256"]
        if "received_sha256" in results:
            self._stream(key).received.append((results["received_bytes"], results["received_sha256"]))

    # -- steps

    def _step(self, step: Step, following: When | None) -> Generator[Until, Stopped, bool]:
        """Wait for the step's condition and do its action. False: the condition never came."""
        if not (yield from self._wait(step)):
            return False
        if following is not None and following.event:
            # From before this action on, so that what the action itself causes counts too.
            self._watch = _Watch(self.lab, self._filter(following), following.nth)
        if step.action is not None:
            action = self._actions.get(type(step.action))
            if action is not None:
                yield from action(step.action)
            else:
                self._simple(step.action)
        return True

    def _wait(self, step: Step) -> Generator[Until, Stopped, bool]:
        now = self.lab.now()
        target = None
        if step.at_ns is not None:
            target = self._origin_ns + step.at_ns
        elif step.after_ns is not None:
            target = now + step.after_ns
        if target is not None:
            if target < now:
                raise FailedPrecondition(
                    f"at {_seconds(target - self._origin_ns)}: it is {_seconds(now - self._origin_ns)} already"
                )
            if target > self._stop_ns:
                return False
            if target > now:
                yield Until(time_ns=target)
            return True
        if step.when is None:
            return True
        when = step.when
        if when.done:
            return (yield from self._done(when.done))
        if when.state:
            node, number = yield from self._connection(when.of)
            if self.lab.status(node, number).state_name == when.state:
                return True
            return (yield from self._event(EventFilter("state", node, number, "", {"new": when.state}), 1))
        watch = self._watch or _Watch(self.lab, self._filter(when), when.nth)
        self._watch = None
        left = watch.stop()
        return left == 0 or (yield from self._event(watch.filter, left))

    def _event(self, wanted: EventFilter, nth: int) -> Generator[Until, Stopped, bool]:
        stopped = yield Until(time_ns=self._stop_ns, idle=True, event=wanted, nth=nth)
        return stopped.reason == EVENT

    def _done(self, label: str) -> Generator[Until, Stopped, bool]:
        if label in self.lab.apps:
            stopped = yield Until(time_ns=self._stop_ns, idle=True, apps=(label,))
            return stopped.reason != TIME and self.lab.apps[label].done
        operation = self._operations.get(label) or self._connections.get(label)
        if operation is None:
            raise NotFound(f"{label}: no operation and no app of that name so far")
        return (yield from self._until_done(operation))

    def _until_done(self, operation: Operation) -> Generator[Until, Stopped, bool]:
        if operation.done:
            return True
        stopped = yield Until(time_ns=self._stop_ns, idle=True, operations=(operation.name,))
        return stopped.reason == OPERATIONS

    def _filter(self, when: When) -> EventFilter:
        node, number = when.node, 0
        if when.of:
            node, number = self._known(when.of)
        return EventFilter(when.event, node, number, when.cause, when.where)

    def _known(self, label: str) -> tuple[str, int]:
        operation = self._connections.get(label)
        if operation is not None and operation.connection:
            return operation.node, operation.connection
        node, hash_, number = label.partition("#")
        if hash_ and number.isdecimal():
            return node, int(number)
        app = self.lab.apps.get(label)
        if app is not None and app.connections:
            return app.node, app.connections[0]
        known = ", ".join(self._connections) or "none"
        raise NotFound(f"{label}: no connection of that label so far; there are {known}")

    def _connection(self, label: str) -> Generator[Until, Stopped, tuple[str, int]]:
        """The connection that a label means; one that is being accepted is waited for."""
        operation = self._connections.get(label)
        if operation is not None and not operation.connection:
            if not (yield from self._until_done(operation)):
                raise FailedPrecondition(f"{label}: {operation} still waits for {operation.waiting_for}")
            operation.value()
        return self._known(label)

    # -- actions that give or use labels

    def _listen(self, action: actions.Listen) -> None:
        listener = self.lab.listen(action.node, action.port, backlog=action.backlog, options=action.options)
        self._listeners[action.as_ or action.node] = action.node, listener.number

    def _accept(self, action: actions.Accept) -> None:
        if action.on not in self._listeners:
            raise NotFound(f"{action.on}: no listener of that label; there are {', '.join(self._listeners) or 'none'}")
        node, listener = self._listeners[action.on]
        self._connections[action.as_ or action.on] = self.lab.accept(node, listener, timeout_ns=action.timeout_ns)

    def _open(self, action: actions.Open) -> None:
        self._connections[action.as_ or action.node] = self.lab.open(
            action.node,
            action.to,
            action.port,
            local_port=action.local_port,
            options=action.options,
            timeout_ns=action.timeout_ns,
        )

    def _send(self, action: actions.Send) -> Steps:
        key = yield from self._connection(action.on)
        operation = self.lab.send(*key, action.payload)
        self._stream(key).sent.append(action.payload)
        if action.as_:
            self._operations[action.as_] = operation

    def _receive(self, action: actions.Receive) -> Steps:
        key = yield from self._connection(action.on)
        most = action.bytes_ or 1 << 62
        operation = self.lab.receive(*key, max_bytes=most, min_bytes=most, keep=False, timeout_ns=action.timeout_ns)
        self._receives.append((key, operation))
        if action.as_:
            self._operations[action.as_] = operation

    def _shutdown(self, action: actions.Shutdown) -> Steps:
        key = yield from self._connection(action.on)
        self.lab.shutdown(*key)

    def _close(self, action: actions.Close) -> Steps:
        if action.on in self._listeners and action.on not in self._connections:
            self.lab.close_listener(*self._listeners[action.on])
        else:
            key = yield from self._connection(action.on)
            self.lab.close(*key)

    def _abort(self, action: actions.Abort) -> Steps:
        key = yield from self._connection(action.on)
        self.lab.abort(*key)

    def _set_options(self, action: actions.SetOptions) -> Steps:
        key = yield from self._connection(action.on)
        for name, value in action.set_.items():
            self.lab.set_option(*key, name, value)

    # -- the others

    def _simple(self, action: Any) -> None:
        lab = self.lab
        match action:
            case actions.Listen():
                self._listen(action)
            case actions.Accept():
                self._accept(action)
            case actions.Open():
                self._open(action)
            case actions.Cancel():
                operation = self._operations.get(action.on) or self._connections.get(action.on)
                if operation is None:
                    raise NotFound(f"{action.on}: no operation of that label so far")
                lab.cancel(operation.name)
            case actions.SetParameters():
                lab.set_parameters(action.node, action.set_)
            case actions.Impair():
                lab.update_link(action.link, action.changes, action.direction)
            case actions.LinkDown():
                lab.set_link_up(action.link, False)
            case actions.LinkUp():
                lab.set_link_up(action.link, True)
            case actions.AddRule():
                lab.add_rule(action.link, action.rule)
            case actions.RemoveRule():
                lab.remove_rule(action.link, action.name)
            case actions.StartAttack():
                lab.create_attack(action.attack, action.name)
            case actions.StopAttack():
                lab.stop_attack(action.name)
            case actions.App():
                lab.start_app(action.node, action.kind, spec.plain(action.app), action.name)
            case actions.StopApp():
                lab.stop_app(action.name)

    def _stream(self, key: tuple[str, int]) -> Stream:
        return self._streams.setdefault(key, Stream())


class _Watch:
    """Counts matching events while the script acts."""

    def __init__(self, lab: Lab, wanted: EventFilter, nth: int) -> None:
        self.filter = wanted
        self._left = nth
        self._names = lab.sink.names
        self._stop = lab.sink.subscribe(wanted.numbers, self._on_event)

    def _on_event(
        self,
        seq: int,
        kind: int,
        time_ns: int,
        node: int,
        connection: int,
        cause: int,
        values: tuple[int, ...],
        tail: bytes,
    ) -> None:
        if self._left and self.filter.matches(
            Event(seq, kind, time_ns, node, connection, cause, values, tail, self._names)
        ):
            self._left -= 1

    def stop(self) -> int:
        """Stop counting; how many are still to come."""
        self._stop()
        return self._left


def _words(step: Step) -> str:
    when = step.when
    if when is None:
        return "its time"
    if when.state:
        return f"{when.of} to be in {when.state}"
    return f"{when.done} to be done" if when.done else f"event {when.event}"


def _error_name(error: BaseException | None) -> str:
    if error is None:
        return "none"
    return getattr(error, "errno_name", "") or type(error).__name__


def _seconds(time_ns: int) -> str:
    return f"{time_ns / 1e9:.6f}".rstrip("0").rstrip(".") + " s"
