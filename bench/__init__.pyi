from bench.api import Compared as Compared
from bench.api import Leaderboard as Leaderboard
from bench.api import TunedModel as TunedModel
from bench.api import board as board
from bench.api import compare as compare
from bench.api import load as load
from bench.api import run as run
from bench.api import verify as verify

__version__: str
