import kn_thesis
