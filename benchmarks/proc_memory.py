"""Anonymous memory of this process: mapped tapes inflate the resident size, but not this."""


def rss_anon_mib() -> float:
    """Return this process's anonymous resident memory."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    return 0.0
