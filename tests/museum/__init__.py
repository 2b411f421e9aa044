"""Real faults of recurrent code, each with the test that would have found it."""
