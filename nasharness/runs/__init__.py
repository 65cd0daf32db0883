"""What everything that takes long has in common, once; without torch, but for what is in a checkpoint.

``job``: what a job offers, and how it says where it stands. ``driver``: folder, lock, refusal of another plan, resume,
log, progress, checkpoints, signals, record. ``pool``: processes side by side. ``log``: the journal. ``signals``: being
told to stop. ``checkpoint``, ``codec``: states as files, written whole or not at all, data and never code.
"""
