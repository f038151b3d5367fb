//! The metadata database: runs, versions, aliases, forecasts, outcomes, lock-boxes, ledger.
