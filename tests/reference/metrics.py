"""Writes metrics.json: answers and what NLTK, sacreBLEU and the published SQuAD rule make of them."""
import json
import pathlib
import random
import re
import string
import warnings
from collections import Counter

import sacrebleu
from nltk.translate import bleu_score as nltk_bleu
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

warnings.filterwarnings("ignore")
TOKENIZE = Tokenizer13a()

PAIRS = [
    ("A man in a black-and-white shirt, dancing!", "a man in a black and white shirt is dancing"),
    ("the cat's 2,000.50 $ toys...", "The cat 's 2000 toys ."),
    ("", ""), ("", "a cat"), ("a", ""), ("the", "an"), ("a cat", ""),
    ("Naïve café — über ÉCOLE", "naïve CAFÉ — uber école"),
    ("it&apos;s &lt;b&gt; &amp;lt; &quot;x&quot;", "it's <b> & \"x\""),
    ("1-2 3-4- a-5 -6", "1 - 2 3 - 4 - a-5 -6"),
    ("a a a a a a", "a a"), ("the the the cat", "the cat the cat"),
    ("u.s.a. 3.14, 1,000,000 .5 5.", "U.S.A. 3.14 1,000,000 .5 5 ."),
    ("no\u00a0break\u3000space\u2028here", "no break space here"),
    ("<skipped>two<skipped> dogs", "two dogs"),
    ("an_other a.b the—end", "another ab end"),
    ("ΜΕΓΆΛΗ Ünï ǅ İstanbul", "μεγάλη ünï ǆ i̇stanbul"),
    ("👍 a 👍👍 cat", "👍 cat"), ("  lots   of \t space  ", "lots of space"),
    ("..,,..", ". . , , . ."), ("a,b.c;d:e!f?g", "a , b . c ; d : e ! f ? g"),
    ("(x)[y]{z}/w\\v|u~t`s^r@q#p%o&n*m+l=k<j>i", "( x ) [ y ] { z }"),
]
WORDS = "a an the man woman cat dog red blue black box is in on dancing jumping two 3 , . ' - shirt".split()


def made_up(count):
    rng = random.Random(7)
    for _ in range(count):
        ref = [rng.choice(WORDS) for _ in range(rng.randint(1, 9))]
        hyp = [w if rng.random() < 0.7 else rng.choice(WORDS) for w in ref if rng.random() < 0.9]
        yield " ".join(hyp), " ".join(ref)


def squad(text):
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(answer, ref):
    p, g = squad(answer).split(), squad(ref).split()
    common = sum((Counter(p) & Counter(g)).values())
    if not p or not g:
        return float(p == g)
    return 2 * common / (len(p) + len(g))


def nltk_all(hyps, refs, methods):
    smooth = nltk_bleu.SmoothingFunction()
    out = []
    for order in range(1, 5):
        weights = (1 / order,) * order
        out.append([float(nltk_bleu.corpus_bleu([[r.split()] for r in refs], [h.split() for h in hyps], weights,
                                                getattr(smooth, f"method{m}"))) for m in methods])
    return out


def sacre(hyps, refs, effective, method="exp"):
    bleu = sacrebleu.BLEU(lowercase=True, tokenize="13a", smooth_method=method, effective_order=effective)
    return bleu.corpus_score(hyps, [refs]).score


def main():
    cases = []
    for hyp, ref in PAIRS + list(made_up(40)):
        h, r = TOKENIZE(hyp.lower().rstrip()), TOKENIZE(ref.lower().rstrip())
        cases.append({
            "hyp": hyp, "ref": ref, "tok13a": TOKENIZE(hyp.rstrip()), "bleu_tokens": h, "ref_tokens": r,
            "strict": " ".join(hyp.strip().split("\n")[0].lower().split()), "squad": squad(hyp),
            "f1": f1(hyp, ref), "nltk": nltk_all([h], [r], range(4)),
            "sacre": [sacre([hyp], [ref], False), sacre([hyp], [ref], True)],
        })
    hyps, refs = [c["hyp"] for c in cases], [c["ref"] for c in cases]
    corpus = {
        "nltk": nltk_all([c["bleu_tokens"] for c in cases], [c["ref_tokens"] for c in cases], range(4)),
        "sacre": {m: sacre(hyps, refs, False, m) for m in ("none", "floor", "add-k", "exp")},
    }
    path = pathlib.Path(__file__).parent / "metrics.json"
    lines = ",\n".join(json.dumps(c) for c in cases)
    path.write_text('{"cases": [\n%s\n], "corpus": %s}\n' % (lines, json.dumps(corpus)))


main()
