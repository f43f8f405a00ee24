"""Formal proofs of the stream parts: each part of `lutgen.gateware` that others rely on, among
assumptions on what surrounds it and assertions on what it does.

`lutgen.formal.catalog` lists them, `lutgen.flows.prove` runs them, docs/design/0004-streams.md says
what they add up to.
"""
