# Usage: passes.sh [TRIALS] [SEED]: as kill.sh, with so little memory that evaluation goes in passes and calibration streams wait in a file.
limited=yes
. "$QLOOM_SOURCE/tests/fault/kill.sh"
