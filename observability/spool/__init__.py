"""The spool: what must not be lost on its way to the log store, and the shipper that moves it there."""
