"""Messages to bytes and back, frames, and the protocol of a connection: sans-I/O, so no clock, socket or file here.

A module is a noun of the wire protocol. From the bottom up: `tlv` splits a payload into fields; `scalars`, `lists`,
`maps`, `bulk` and `composite` turn values into bytes; `walk` does whole messages and words every error, `obedience`
runs rules. `source`, `shapes`, `writing` and `reading` make the functions that `fast` compiles, and `codec` joins the
two ways. `metadata` is the envelope, `annotate` explains bytes to people; `frames`, `buffer`, `state` and `connection`
are the stream around it all. `rust` and its kin (`rustwalk`, `rustsource`, `rustframes`, `rustannotate`) are the same
for the dialect of the Rust bus.
"""
