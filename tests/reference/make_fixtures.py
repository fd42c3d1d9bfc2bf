"""Writes every fixture of this folder. Run: python make_fixtures.py (versions: README.md)."""
import stllm
import towers


def main():
    towers.clip()
    towers.gpt2()
    print("generate: ended %d, different %d" % towers.gpt2_generate())
    stllm.write_weights()
    stllm.write_modes()


main()
