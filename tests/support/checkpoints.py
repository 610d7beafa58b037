"""What the schedulers of a run saved of its undecided images."""


def read_checkpoints(output):
    """The last checkpoint of every scheduler, as bytes."""
    return [output.read_checkpoint(part) for part in output.part_names("checkpoints")]
