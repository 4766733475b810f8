"""Who is told of a split brain: a script of its own, FIFOs and mails."""

from __future__ import annotations

import time

import pytest

from lab import Fastvrrp, Laboratory, wait_until
from lab.mailbox import Mailbox
from lab.witness import Witness
from notify_pair import MAIL, definitions, instance


@pytest.mark.keywords("vrrp_instance/notify_split_brain", "global_defs/notify_split_brain")
def test_a_split_brain_is_told_when_it_begins_and_when_it_is_over(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    (spare,) = lab.connect(witness.router, witness.peer)
    box = Mailbox(witness.peer, spare.host(witness.peer.index), 2525)
    mail = [line.replace("{peer}", spare.host(witness.peer.index)) for line in MAIL]
    begun = int(time.time())
    script = 'notify_split_brain "{script} all"'
    conf = definitions(*mail, "smtp_alert yes", "script_user root", script)
    witness.start(conf + instance("A", 1))
    witness.wait(2, 0)
    witness.start_other(instance("A", 1, priority=100), is_deaf=True)
    wait_until(lambda: any("SPLIT_BRAIN" in line for line in witness.told()), what="a split brain")
    witness.stop_other()
    wait_until(lambda: any("SPLIT_BRAIN_OVER" in line for line in witness.told()), what="its end")
    told = [line for line in witness.told() if "SPLIT_BRAIN" in line]
    assert told == ['INSTANCE "A" SPLIT_BRAIN 200', 'INSTANCE "A" SPLIT_BRAIN_OVER 200']
    wait_until(lambda: len(witness.runs()) == 2, what="two scripts")
    first, second = (run.split() for run in witness.runs())
    peer = witness.filled("<{peer}>")
    assert first[:7] == ["<all>", "<INSTANCE>", "<A>", "<SPLIT_BRAIN>", "<200>", peer, "<->"]
    assert second[3:7] == ["<SPLIT_BRAIN_OVER>", "<200>", peer, "<->"]
    assert first[7] == second[7]
    assert begun <= int(first[7].strip("<>")) <= time.time()
    wait_until(lambda: "[lab] VRRP Instance A - Split brain is over" in box.subjects())
    assert "[lab] VRRP Instance A - Split brain" in box.subjects()
    assert witness.daemon.stop() == 0
