"""TensorBoard: callbacks for trainings, summaries, and the tab Explanations."""
