"""The main job at scale, measured: seconds, memory and bytes of each stage, beside a peer and after a change file."""
