"""The process that speaks VRRP, as the parent starts it: `python -m fastvrrp.daemon.vrrpd_main FD`.

FD is a socket to the parent (`orders`). The process reads the configuration, tells the parent what
that one has to know, and runs when the parent lets it. A second argument is a descriptor that it
takes as its stderr when it has started: until then that is the one of whoever started the daemon.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from fastvrrp._table import SEGMENT_LAYOUT, Segment
from fastvrrp.daemon.adoption import Inheritance, find, inherit, patience, wait_for_end
from fastvrrp.daemon.background import AlreadyRunning, PidFile, segment_path
from fastvrrp.daemon.beat import LIMIT
from fastvrrp.daemon.failures import MACHINE_FAILED, NOTHING_TO_RUN, explain
from fastvrrp.daemon.handover import HandoverError, Taking
from fastvrrp.daemon.launch import Launch
from fastvrrp.daemon.logs import Destination, Idents, Logs, destination, set_up
from fastvrrp.daemon.namespace import enter
from fastvrrp.daemon.options import Half, Options
from fastvrrp.daemon.orders import Beat, Begin, Complained, Ended, Read, Started
from fastvrrp.daemon.parent import Parent
from fastvrrp.daemon.pid_files import PidFiles, of_launch
from fastvrrp.daemon.privileges import VRRPD
from fastvrrp.daemon.reading import Aside, ReaderError, read_aside
from fastvrrp.daemon.sealing import servers_of
from fastvrrp.daemon.snapshot import Origin, load, path_beside
from fastvrrp.kernel.capabilities import keep_only
from fastvrrp.model import SECOND, Configuration, GlobalDefinitions
from fastvrrp.track.frames import Closed
from fastvrrp.track.interpreter import end_with_starter

if TYPE_CHECKING:
    from fastvrrp.daemon.vrrpd import Vrrpd

log = logging.getLogger("fastvrrp.daemon.vrrpd_main")  # it runs as __main__

START_LIMIT = 600.0
"""Seconds for the start, which is one step of the loop: 65,280 virtual routers take some ten."""
LAST_MOMENTS = 60.0
"""Seconds until a predecessor has gone; 500 namespaces take the kernel some 15."""
NAME = "fastvrrp_vrrpd"
"""What ps calls it, where nobody says anything else; 15 letters have room."""


class Start:
    """One start of it, and all that follows."""

    def __init__(self, parent: Parent, begin: Begin, stderr: int | None) -> None:
        self._parent = parent
        self._launch = begin.launch
        self._is_restart = begin.is_restart
        self._idents = begin.idents
        self._pid_file = begin.pid_file
        self._namespace = begin.namespace
        self._stderr = stderr
        self._predecessor = begin.predecessor
        self._logs: Logs | None = None
        self._held = ExitStack()

    def run(self) -> int:
        """Runs until the end; the daemon's exit status. Raises Closed where the parent is gone."""
        with self._held:
            if self._idents is not None:
                # Nobody reads our stderr any more.
                self._set_up_log(destination(self._launch, self._idents))
            read = self._read()
            if isinstance(read, int):
                return read
            return self._serve(read)

    def _read(self) -> Aside | int:
        """The configuration, or the exit status where there is nothing to run."""
        launch = self._launch
        goes_on = self._is_restart and self._predecessor is None
        if goes_on and self._pid_file is not None:
            ran = load(
                path_beside(segment_path(Path(self._pid_file))),
                Origin(str(Path(launch.file).absolute()), launch.config_id, Half(launch.half)),
            )
            if ran is not None:
                return ran
        if not launch.stays and not self._is_restart:
            os.chdir(launch.folder)
        try:
            read = read_aside(launch.file, launch.config_id, self._complain, Half(launch.half))
        except ReaderError as error:
            self._complain(f"fastvrrp: {launch.file}: {error}")
            return MACHINE_FAILED
        if not launch.stays:
            os.chdir("/")
        configuration = read.configuration
        runs = configuration.virtual_routers or servers_of(configuration)
        if read.has_errors and not runs:
            self._complain("fastvrrp: no virtual router and no virtual server is left to run")
            return NOTHING_TO_RUN
        if read.has_errors and self._predecessor is not None:
            self._complain(f"{launch.file} has errors")
            return NOTHING_TO_RUN
        return read

    def _serve(self, read: Aside) -> int:
        launch = self._launch
        if self._pid_file is not None and self._predecessor is None:
            read.configuration = _staying_in(self._namespace, read.configuration)
        definitions = read.configuration.definitions
        namespace = definitions.namespaces.network
        idents = self._idents or _idents(launch, definitions)
        try:
            files = of_launch(launch, definitions)
            if self._pid_file is not None and self._predecessor is None:
                files = files._replace(main=Path(self._pid_file))
            self._parent.say(Read(str(files.main), namespace, idents))
            self._parent.wait_go()
            startup = definitions.scripts.startup_timeout / SECOND
            self._parent.say(Beat(START_LIMIT + startup))
            if namespace is not None:
                enter(namespace)
            if files.vrrp is not None and self._predecessor is None:
                segment = segment_path(files.main)
                wait_for_end(segment)
                self._held.enter_context(PidFile(files.vrrp, patience(segment)))
            to = destination(launch, idents)
            if self._idents is None:
                self._set_up_log(to)
            self._run(read, files, to)
        except (AlreadyRunning, OSError, HandoverError) as error:
            self._complain(f"fastvrrp: {explain(error)}")
            return MACHINE_FAILED
        return 0

    def _set_up_log(self, to: Destination) -> None:
        self._logs = self._held.enter_context(set_up(to))

    def _close_log(self) -> None:
        if self._logs is not None:
            self._logs.close()

    def _run(self, read: Aside, files: PidFiles, to: Destination) -> None:
        # Only now: it takes a tenth of a second to import.
        from fastvrrp.daemon.vrrpd import Vrrpd  # noqa: PLC0415

        launch = self._launch
        if not self._is_restart:
            for remark in launch.remarks:
                log.info("%s", remark)
        path = Path(launch.from_anywhere().file)
        segment = segment_path(files.main)
        options = _options(launch, to, files.checkers)
        vrrpd = Vrrpd(read, path, launch.config_id, segment, options, self._parent, self._close_log)
        try:
            if self._predecessor is None:
                vrrpd.run(self._on_started, lambda: find(segment))
            else:
                self._take_over(vrrpd, self._predecessor, segment, files)
        except OSError as error:
            if not launch.console and not self._is_restart:  # which reads it anyway
                log.error("%s", explain(error))
            raise

    def _take_over(self, vrrpd: Vrrpd, predecessor: int, segment: Path, files: PidFiles) -> None:
        """Runs in the place of a vrrpd that lives until then. Raises HandoverError."""
        taking = Taking(predecessor, SEGMENT_LAYOUT)

        def hold() -> Inheritance:
            taking.hold()
            found = inherit(Segment(segment), segment)
            found.predecessor.lives = taking.take
            found.predecessor.on_resumed = taking.commit
            return found

        def on_started() -> None:
            self._predecessor = None
            if files.vrrp is not None:
                self._take_beside(PidFile(files.vrrp, LAST_MOMENTS))
            self._on_started()

        vrrpd.run(on_started, hold, taking)

    def _take_beside(self, file: PidFile) -> None:
        """Takes a pid file that the predecessor has until it has gone. Adverts do not wait for it,
        and we go on without it."""

        def take() -> None:
            try:
                file.take()
            except (AlreadyRunning, OSError) as error:
                log.error("%s", explain(error))

        self._held.callback(file.remove)
        Thread(target=take, name="pid file", daemon=True).start()

    def _on_started(self) -> None:
        if self._stderr is not None:
            os.dup2(self._stderr, sys.stderr.fileno())
            os.close(self._stderr)
            self._stderr = None
        self._parent.say(Started())
        self._parent.say(Beat(LIMIT))

    def _complain(self, line: str) -> None:
        if self._predecessor is not None:
            self._parent.say(Complained(line))
        elif self._is_restart:
            log.error("%s", line)
        else:
            print(line, file=sys.stderr)


def _staying_in(namespace: str | None, configuration: Configuration) -> Configuration:
    """A configuration in the daemon's network namespace, which a reload does not change."""
    definitions = configuration.definitions
    namespaces = replace(definitions.namespaces, network=namespace)
    return replace(configuration, definitions=replace(definitions, namespaces=namespaces))


def _idents(launch: Launch, definitions: GlobalDefinitions) -> Idents:
    namespace = launch.network_namespace or definitions.namespaces.network
    if launch.is_keepalived:
        return Idents.of_keepalived(namespace, definitions.processes.instance)
    return Idents.of_namespace(namespace)


def _options(launch: Launch, to: Destination, checkers: Path | None) -> Options:
    return Options(
        log=to,
        metrics=launch.metrics,
        half=Half(launch.half),
        releases_ipvs=launch.releases_ipvs,
        releases_addresses=launch.releases_addresses,
        umask=launch.umask,
        checkers_pid=checkers,
        dumps_configuration=launch.dumps_configuration,
        process_name=launch.name if launch.is_keepalived else NAME,
        parent_name=launch.name,
        network_namespace=launch.network_namespace,
    )


def main() -> None:
    """Does what the parent says, and exits."""
    gc.disable()  # what comes stays, until all has begun (Vrrpd), and adverts wait for it
    keep_only(VRRPD)
    end_with_starter(signal.SIGTERM)
    end, *rest = (int(word) for word in sys.argv[1:])
    for descriptor in (end, *rest):
        os.set_inheritable(descriptor, False)
    parent = Parent(socket.socket(fileno=end))
    try:
        status = Start(parent, parent.wait_begin(), rest[0] if rest else None).run()
    except Closed:
        sys.exit(MACHINE_FAILED)
    parent.say(Ended(status))
    sys.exit(status)


if __name__ == "__main__":
    main()
