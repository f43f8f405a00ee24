"""What is proven of each part."""

__all__ = ["CLAIMS"]

CLAIMS = {
    "fifo": "no loss, no doubling, order; offers hold while stalled; space is exact; progress",
    "regrouper": "no loss, no doubling, order, zeros after the last item; progress",
    "index_buffer": "rows walked once each and unspoilt; results only with space; progress",
    "ledger": "ready windows are there; needed pixels are never overwritten; progress",
    "lines": "words read are those of their windows; no address past the last row, whatever stalls",
    "port": "whole samples go on; results of good frames only, once, in order; exact accounts",
    "axilite": "one response for each address and data; responses, values, strobes as the map says",
    "crossing": "no loss, no doubling, order, whatever two clocks do; offers hold; progress",
    "drain": "an idle engine holds nothing, on either clock; a job takes its own rows and errors",
    "packet": "one packet of results a job, however it ends; nothing is left behind it",
    "intake": "a frame that does not count changes nothing; what waits is unspoilt; one answer",
    "pingpong": "no use before its load, no load before the last read; turns; progress",
}
