"""What tables, alternates and admission are worth: flows against tables, look-ups only.

`python -m ring.simulate` prints how many of millions of flows are lost in restarts, flaps, mixed changes, growth
and replacements, by the kind of table and the number K of alternates, with and without admission, and what
admission costs in waiting. Chance comes from seeds alone, so a run can be repeated to the last flow; `__main__`
is the one module that prints.

A step is the time between two changes. In each, what is pending is tried, all flows alive look up their bucket
once (a node with no memory), new ones are born at the owners, and some end. A flow is lost as soon as its backend
is neither owner nor among the K alternates of its bucket. Backends live for ever and windows are longer than any
flow: what is lost is lost by moving buckets alone.
"""
