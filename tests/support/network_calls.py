"""What a library's own pipeline gives its network, and gets back."""


def calls(network, run):
    """Run a pipeline; each call of its network: positional inputs, named inputs, first output."""
    seen = []

    def note(_, inputs, named, output):
        seen.append((inputs, named, output[0] if isinstance(output, tuple) else output))

    hook = network.register_forward_hook(note, with_kwargs=True)
    try:
        run()
    finally:
        hook.remove()
    return seen
