"""AutoShrink's own search (AAAI 2020): every candidate is a network of its own, trained briefly on real data.

``run`` searches; ``settings`` says how; ``shrink`` is the loop, ``images`` and ``text`` are the trainings, ``workers``
does several side by side, ``journal`` remembers what was paid for.
"""
