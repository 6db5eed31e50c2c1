"""What this machine allows, found by trying, and why not: labkit doctor.

A question is answered by a trial, not by a version or a setting: `host.py` asks the engine, and
starts `probe.py` for the rest. The probe is a bare Python of its own, because its trials would
change the process that makes them. Each trial is a fork in new namespaces, so none sees another's
traces. A bare Python has no site-packages, so the probe packs its one netlink message by hand.
"""
