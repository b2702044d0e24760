"""The lab: experiments on single units, on weights, and on sharing itself."""
