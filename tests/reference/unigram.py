"""Writes unigram.model, unigram_types.model and unigram.tsv: a small SentencePiece model, one with pieces of every type,
and hard texts with the ids that SentencePiece and Hugging Face's tokenizers give them.

usage: unigram.py [DIR]            DIR: where to (default: beside this file)
Needs sentencepiece, protobuf, tokenizers; the committed files are from sentencepiece 0.2.3 and tokenizers 0.23.3.

unigram.model: trained on the sentences below, T5's ids (pad 0, end 1, unknown 2), the character map nmt_nfkc.
unigram_types.model: the same pieces without a map, spaces kept; some pieces UNUSED, some USER_DEFINED.
Lines: "u" for the second: hex of the bytes, SentencePiece's ids. "n" for the first: hex, SentencePiece's ids; with special
tokens matched in the text: SentencePiece's ids between them, those of a tokenizer.json in T5's shape (WhitespaceSplit,
Metaspace), those in FLAN's (Metaspace alone), and a reason where T5's differ from SentencePiece's. "l" for the
first: hex, how often that is repeated, the number of SentencePiece's ids, the sum of (place + 1) * id modulo 2^31: float
sums of so long a text lose their last digits. Bytes that are not UTF-8 reach tokenizers as Python's errors="replace" reads them.

The reasons: "bytes": a byte that is not UTF-8 becomes U+FFFD behind SentencePiece's map, and so an unknown character; to
tokenizers the text has U+FFFD from the beginning, which nmt_nfkc turns into a space.
"grapheme": tokenizers asks the map for a whole grapheme below 6 bytes and then takes its shortest rule and drops the
rest; SentencePiece takes the longest rule at each place (FLAN's differ also where CR LF, a grapheme, is one space that
way; T5's shape joins spaces anyway). "underline": U+2581 in the text is the space of the front to
Hugging Face, and a second one to SentencePiece. "space": whitespace that the map keeps splits words there.
"""
import pathlib
import random
import re
import sys
import tempfile
import unicodedata

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

WHO = "a man|a woman|two dogs|the cat|a little girl|three boys|an old man|the band|a white horse|some people".split("|")
DOES = ("is dancing|are running|jumps over a chair|plays the guitar|looks at the camera|opens the red door|is laughing|"
        "falls off the sofa|eats an apple|shakes its head|is driving a car|waves both hands").split("|")
HOW = "slowly|in the rain|in front of a house|with a hat on|again and again|while others watch|on the beach|at night".split("|")
ASKS = ("What is {} doing?|Who {}?|Where is {}?|How many times does {} jump?|What color is the hat of {}?|"
        "question: what does {} do? answer: dancing|context: {} smiles, then leaves.|It's {}'s 1st show in 2016 - don't miss it!")
BLOCKS = [(0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x250, 0x36F), (0x300, 0x36F), (0x370, 0x52F), (0x900, 0xDFF),
          (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2100, 0x218F), (0x2460, 0x24FF), (0x2580, 0x2590),
          (0x3000, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xADFF), (0xF900, 0xFAFF), (0xFB00, 0xFB4F), (0xFE00, 0xFFEF),
          (0x1D400, 0x1D7FF), (0x1F300, 0x1F64F), (0, 31), (0x7F, 0x9F)]
BITS = ["▁", "▁▁", " ", "   ", "\t", "\r\n", "\u3000", "\u0085", "\u2028", "\u200b", "\u200d", "\ufeff", "\u00ad", "\u1680",
        "ａ", "Ｔｈｅ ｍａｎ", "e\u0301", "ａ\u0301", "\u00a8", "½", "ﬁ", "…", "......", "㍿", "\ufdfa", "ｶﾞ", "\u1100\u1161\u11a8",
        "the man", " cat", "DOG", "2016", "don't", "question: ", "<hl>", "</s>", "<pad>", "<extra_id_0>", "👍🏽", "👨‍👩‍👧", "zzz", "Ǆ",
        "a man is dancing", "the camera", "ing ing", "\ufffd"]
SPECIAL = [b"<pad>", b"</s>", b"<unk>"]
HEADS = [b"\xc0\x80", b"\xe0\x9f", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xf4\x90", b"\xf8", b"\xe2\x82", b"\x80", b"\xff", b"\xe2\x96"]


def sentences():
    for who in WHO:
        for i, does in enumerate(DOES):
            yield f"{who} {does} {HOW[(i + len(who)) % len(HOW)]}."
        for ask in ASKS.split("|"):
            yield ask.format(who)


def train(folder):
    text = pathlib.Path(folder) / "text"
    text.write_text("\n".join(sentences()) + "\n")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(text), vocab_size=129, model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        normalization_rule_name="nmt_nfkc", num_threads=1, minloglevel=2)
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(text.with_suffix(".model").read_bytes())
    model.trainer_spec.input[:] = ["unigram.py"]
    model.trainer_spec.model_prefix = "unigram"
    return model


def with_types(model):
    other = sentencepiece_model_pb2.ModelProto()
    other.CopyFrom(model)
    other.normalizer_spec.precompiled_charsmap = b""
    other.normalizer_spec.name = "identity"
    other.normalizer_spec.remove_extra_whitespaces = False
    for i, piece in enumerate(other.pieces):
        if i > 2 and i % 7 == 0:
            piece.type = piece.UNUSED
    for name in ("<hl>", "the man", "▁2016", "ing"):
        same = [p for p in other.pieces if p.piece == name]
        piece = same[0] if same else other.pieces.add()
        piece.piece, piece.score, piece.type = name, 0.0, piece.USER_DEFINED
    return other


def hugging_face(model, flan):
    t = Tokenizer(models.Unigram([(p.piece, p.score) for p in model.pieces], unk_id=2, byte_fallback=False))
    t.normalizer = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    space = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    t.add_special_tokens(["<pad>", "</s>", "<unk>", *(f"<extra_id_{k}>" for k in range(99, -1, -1))])
    t.pre_tokenizer = space if flan else pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), space])
    return t


def between(sp, data):
    """Special tokens, and SentencePiece's ids of what stands between them."""
    ids, sentinels = [], sp.get_piece_size() + 99
    for part in re.split(rb"(<pad>|</s>|<unk>|<extra_id_[0-9]>|<extra_id_[1-9][0-9]>)", data):
        if part.startswith(b"<extra_id_"):
            ids.append(sentinels - int(part[10:-1]))
        else:
            ids += [SPECIAL.index(part)] if part in SPECIAL else sp.encode(part)
    return ids


def character(rng):
    while True:
        c = chr(rng.randint(*rng.choice(BLOCKS)))
        if unicodedata.category(c) not in ("Cn", "Cs", "Co"):
            return c


def texts():
    rng = random.Random(16)
    yield from (b.encode() for b in ["", *BITS])
    for _ in range(360):
        yield "".join(rng.choice(BITS) if rng.random() < 0.4 else character(rng) for _ in range(rng.randint(1, 12))).encode()
    for _ in range(100):
        yield b"".join(rng.choice([rng.choice(HEADS), rng.choice(BITS).encode(), bytes([rng.randrange(256)])])
                       for _ in range(rng.randint(1, 6)))


def long_texts():
    rng = random.Random(17)
    yield "".join(rng.choice("aeinorst ,.dh") for _ in range(4001)), 60
    yield "".join(rng.choice("abdeghiklmnoprstuvw") for _ in range(997)), 100
    yield " ".join(sentences()) + " ", 20


def why(data, sp, fast):
    """The first change of the text that makes both sides agree."""
    text = data.decode(errors="replace")

    def agree(t):
        return between(sp, t.encode()) == fast(t)

    if text.encode() != data and agree(text):
        return "bytes"
    if agree(text.replace("▁", " ")):
        return "underline"
    if agree(" ".join(text.split())):
        return "space"
    apart = "".join(c if not unicodedata.combining(c) and unicodedata.category(c) not in ("Mn", "Mc", "Me") and
                    not 0x1160 <= ord(c) <= 0x11FF and c not in "\u200d\uff9e\uff9f" else "x" for c in text)
    if agree(apart) or agree(apart.replace("▁", " ")) or agree(" ".join(apart.split())):
        return "grapheme"
    return "?"


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    with tempfile.TemporaryDirectory() as folder:
        model = train(folder)
    types = with_types(model)
    (out / "unigram.model").write_bytes(model.SerializeToString(deterministic=True))
    (out / "unigram_types.model").write_bytes(types.SerializeToString(deterministic=True))
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    sp_types = sentencepiece.SentencePieceProcessor(model_proto=types.SerializeToString())
    t5, flan = hugging_face(model, False), hugging_face(model, True)
    rows, differ = [], {}
    for data in texts():
        text, ids = data.decode(errors="replace"), between(sp, data)
        reason = "" if t5.encode(text).ids == ids else why(data, sp, lambda t: t5.encode(t).ids)
        differ[reason] = differ.get(reason, 0) + 1
        lists = (sp.encode(data), ids, t5.encode(text).ids, flan.encode(text).ids)
        rows.append("\t".join(["n", data.hex(), *(" ".join(map(str, x)) for x in lists), reason]))
        rows.append("\t".join(["u", data.hex(), " ".join(map(str, sp_types.encode(data)))]))
    for unit, times in long_texts():
        ids = sp.encode(unit * times)
        total = sum((i + 1) * x for i, x in enumerate(ids)) % 2**31
        rows.append("\t".join(["l", unit.encode().hex(), str(times), str(len(ids)), str(total)]))
    (out / "unigram.tsv").write_text("\n".join(rows) + "\n")
    print(len(rows), "lines; T5's tokenizer.json differs:", {k: v for k, v in differ.items() if k})


main()
