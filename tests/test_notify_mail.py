"""Mails about changes, side by side with keepalived."""

from __future__ import annotations

import pytest

from lab import Fastvrrp, Laboratory, wait_until
from lab.mailbox import Delivery, Mailbox
from lab.witness import Witness
from notify_pair import MAIL, both, definitions, instance, needs


def essence(delivery: Delivery) -> tuple[object, ...]:
    message = delivery.message
    headers = [message[name] for name in ("From", "To", "Subject", "X-Mailer")]
    text = message.get_payload()
    assert isinstance(text, str)
    return delivery.helo, delivery.sender, delivery.recipients, headers, text.split()


@pytest.mark.keywords(
    "vrrp_instance/smtp_alert",
    "global_defs/smtp_server",
    "global_defs/notification_email",
    "global_defs/notification_email_from",
    "global_defs/smtp_helo_name",
    "global_defs/smtp_alert_vrrp",
)
def test_mails_are_keepalived_s(lab: Laboratory) -> None:
    witnesses = both(lab)
    boxes = [Mailbox(each.peer, each.filled("{peer}"), 2525) for each in witnesses]
    definition = definitions(*MAIL, "smtp_alert_vrrp yes")
    conf = definition + instance("A", 1) + instance("B", 2, "smtp_alert no")
    for witness, box in zip(witnesses, boxes, strict=True):
        witness.start(conf + instance("C", 3, "notify_deleted"))
        box.wait(4)
        witness.router.ip(f"link set {witness.link.interface} down")
        wait_until(lambda told=witness.told: any("FAULT" in line for line in told()))  # type: ignore[misc]
        witness.router.ip(f"link set {witness.link.interface} up")
        box.wait(8)  # those of FAULT may be lost by either while there is no link
        witness.reload(conf)
        wait_until(lambda box=box: any("Deleted" in s for s in box.subjects()))  # type: ignore[misc]
        witness.daemon.stop()
    theirs, ours = ([essence(each) for each in box.deliveries] for box in boxes)
    assert {str(each) for each in ours if "FAULT" not in str(each)} == {
        str(each) for each in theirs if "FAULT" not in str(each)
    }
    assert {s.split(" - ")[0] for s in boxes[1].subjects()} == {
        "[lab] VRRP Instance A",
        "[lab] VRRP Instance C",
    }
    assert boxes[1].deliveries[0].message["Message-ID"].endswith("@example.org>")


@needs("vrrp_sync_group")
@pytest.mark.keywords("vrrp_sync_group/smtp_alert")
def test_mails_about_groups_are_keepalived_s(lab: Laboratory) -> None:
    witnesses = both(lab)
    boxes = [Mailbox(each.peer, each.filled("{peer}"), 2525) for each in witnesses]
    group = "vrrp_sync_group G {\n  group {\n    A\n  }\n  smtp_alert\n}\n"
    better = instance("A", 1, priority=250)
    for witness, box in zip(witnesses, boxes, strict=True):
        witness.start(definitions(*MAIL) + group + instance("A", 1))
        box.wait(2)
        witness.start_other(better)
        box.wait(3)
        witness.daemon.stop()
    theirs, ours = ([essence(each) for each in box.deliveries] for box in boxes)
    assert ours == theirs


@pytest.mark.keywords("global_defs/no_email_faults", "global_defs/smtp_alert")
def test_no_mail_of_faults_where_nobody_wants_one(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    (spare,) = lab.connect(witness.router, witness.peer)
    box = Mailbox(witness.peer, spare.host(witness.peer.index), 2525)
    mail = [line.replace("{peer}", spare.host(witness.peer.index)) for line in MAIL]
    witness.start(definitions(*mail, "smtp_alert yes", "no_email_faults") + instance("A", 1))
    box.wait(2)
    witness.router.ip(f"link set {witness.link.interface} down")
    witness.wait(3, 0)
    witness.router.ip(f"link set {witness.link.interface} up")
    subjects = [delivery.message["Subject"] for delivery in box.wait(4)]
    witness.daemon.stop()
    states = [subject.removeprefix("[lab] VRRP Instance A - ") for subject in subjects]
    assert states == [f"Entering {state} state" for state in 2 * ("BACKUP", "MASTER")]


def test_a_dead_mail_server_costs_a_line_in_the_log(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    witness.start(definitions(*MAIL, "smtp_alert yes") + instance("A", 1))
    witness.wait(2, 0)
    said = "no mail can be sent by SMTP server"
    witness.daemon.wait_log(said)
    box = Mailbox(witness.peer, witness.filled("{peer}"), 2525)
    assert len(box.wait(2)) == 2
    witness.daemon.stop()
    assert witness.daemon.log().count(said) == 1
    assert "Traceback" not in witness.daemon.log()
    assert "pending" not in witness.daemon.log()


@pytest.mark.keywords("global_defs/smtp_connect_timeout")
def test_a_silent_mail_server_does_not_keep_the_daemon_from_ending(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    box = Mailbox(witness.peer, witness.filled("{peer}"), 2525)
    box.greets = False
    conf = definitions(*MAIL, "smtp_alert yes", "smtp_connect_timeout 1") + instance("A", 1)
    witness.start(conf)
    witness.daemon.wait_log("no mail can be sent by SMTP server")
    wait_until(lambda: box.connections > 1)
    assert witness.daemon.stop(3.0) == 0
    assert "2 mails were not sent: the daemon stops" in witness.daemon.log()
    assert "Traceback" not in witness.daemon.log()
