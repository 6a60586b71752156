"""The parts of bench.drift. What a part fixes (seeds, learners, injectors, sizes) stands at its top."""
