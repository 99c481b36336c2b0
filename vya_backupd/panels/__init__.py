"""What the control socket offers beside the main job: one panel for each capability, as values of ``api.route``."""
