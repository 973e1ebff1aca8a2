"""The whole platform in one command: a simulated portfolio, landed and refreshed."""

import time
from datetime import date

from rich.console import Console

from credit_risk_assets.automation.refresh import get_ready, refresh_reserved, reserved
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources.companion import Companion, enough_cores
from credit_risk_assets.resources.landing import land
from credit_risk_assets.tape.simulate import simulate


def run_demo(settings: Settings, loans: int, as_of: date, console: Console) -> bool:
    """Simulate yearly tapes, land them and run the main job; return whether all of it passed.

    With a core to spare the tapes are made in the run's second process, while this one gets ready.
    """
    began = time.monotonic()
    console.print(f"simulating {loans:,} loans on three yearly tapes …")
    with reserved(settings, console) as platform:
        if enough_cores():
            platform.companion = Companion()
        folder = settings.home / "simulated"
        simulated = platform.beside(simulate, loans, folder, as_of=as_of, home=settings.home)
        if platform.companion is not None:
            get_ready(platform)
        platform.landed |= {land(settings, file) for file in simulated().tapes}
        console.print(f"  done    {'simulate and land':28}{time.monotonic() - began:7.1f} s")
        done = refresh_reserved(platform, None, console)
    console.print(f"\ndemo finished in {time.monotonic() - began:.1f} s")
    return done
