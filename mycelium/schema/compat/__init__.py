"""The compatibility checker: what changed between two schemas, who is hurt by it, and what to do about it.

`examine` compares; everything else explains or prints what it found. Pure: schemas in, findings out. Bytes that prove a
break come from a prover that is handed in.

    previous, current -> pairs (what corresponds) -> rules by noun -> findings -> report -> text, json, github, sarif
"""
