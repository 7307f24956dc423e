"""The attention in frameworks other than OpenMMLab's, one module each."""
