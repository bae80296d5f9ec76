"""How good a network is: accuracies with their intervals, calibration, each class, and files to read it from."""
