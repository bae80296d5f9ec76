"""Why a network says what it says: class activation maps, Grad-CAM, and pictures of both."""
