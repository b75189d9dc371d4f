"""Which node does which job, where a cluster's processors are of several kinds."""

from collections.abc import Iterable, Mapping


class Placement:
    """Lets all jobs of a seed be done by processors of one kind: their last bits are those of their kind.

    A seed belongs to the kind on which its first job is done, or was done before. Its other jobs wait for a
    node of that kind, as long as there is one.

    Args:
        kinds: of seeds, some of whose jobs were done before.
    """

    def __init__(self, kinds: Mapping[str, str]):
        self.kinds = dict(kinds)

    def place(
        self, waiting: Iterable[tuple[int, str]], room: Mapping[str, int], kinds: Mapping[str, str]
    ) -> list[tuple[int, str]]:
        """Return the jobs that begin now, each with its node; the seeds of them belong to a kind from now on.

        Args:
            waiting: jobs and their seeds, the next one first.
            room: for how many jobs each node has room now.
            kinds: of the nodes' processors.
        """
        left, there = dict(room), set(kinds.values())
        placed = []
        for job, seed in waiting:
            if not any(number > 0 for number in left.values()):
                break
            own = self.kinds.get(seed)
            fitting = [node for node in left if left[node] > 0 and (own not in there or kinds[node] == own)]
            if fitting:
                node = max(fitting, key=lambda node: left[node])
                left[node] -= 1
                self.kinds[seed] = kinds[node]
                placed.append((job, node))
        return placed
