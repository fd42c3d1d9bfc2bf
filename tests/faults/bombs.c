/* R10: small files that claim or cause large work. Each program ends with the right exit code and a
 * message, within 5 s of processor time and 200 MB of memory.
 *
 * Processor time is limited by RLIMIT_CPU, and measured; memory is measured as the largest resident
 * size, and limited by RLIMIT_AS where no sanitizer keeps its shadow there.
 */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "core/io.h"
#include "faults/report.h"
#include "support.h"

enum { CPU_S = 5, MEMORY_MB = 200 };

static char dir[64];

/* ---- making files ---------------------------------------------------------------------------- */

static FILE *file;

static void begin_file(const char *name)
{
    char path[256], *slash;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    for (slash = path + strlen(dir) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        gq_error err = {0};
        *slash = 0;
        assert_ok(gq_mkdirs(path, &err), &err);
    }
    assert_non_null(file = fopen(path, "wb"));
}

static void end_file(void)
{
    assert_int_equal(fclose(file), 0);
}

static void put(const void *data, size_t n) { fwrite(data, 1, n, file); }
static void text(const char *s) { put(s, strlen(s)); }

static void repeat(const char *s, long n)
{
    for (long i = 0; i < n; i++)
        fputs(s, file);
}

static void u16(unsigned v) { put((uint8_t[]){(uint8_t)v, (uint8_t)(v >> 8)}, 2); }

static void gif_screen(unsigned w, unsigned h)
{
    text("GIF89a");
    u16(w);
    u16(h);
    put("\x80\0\0\0\0\0\xFF\xFF\xFF", 9);        /* two colours */
}

/* One frame of w x h pixels of colour 0 in long codes: each names a string one pixel longer. */
static void gif_frame(unsigned w, unsigned h)
{
    uint8_t  block[255];
    size_t   n = 0;
    uint64_t bits = 0, left = (uint64_t)w * h, run = 0;
    unsigned have = 0, width = 3, next = 6, code = 4;

    put(",\0\0\0\0", 5);
    u16(w);
    u16(h);
    put("\0\x02", 2);
    for (bool done = false; !done;) {
        bits |= (uint64_t)code << have;
        have += width;
        done = code == 5;
        while (have >= 8 || (done && have)) {
            block[n++] = (uint8_t)bits;
            bits >>= 8;
            have = have > 8 ? have - 8 : 0;
            if (n == 255) {
                put("\xFF", 1);
                put(block, n);
                n = 0;
            }
        }
        if (code == 4) {                         /* after a clear code */
            width = 3;
            next = 6;
            run = 1;
            code = 0;
        } else {
            left -= run < left ? run : left;
            if (run > 1 && next < 4096)
                next++;
            if (next == 1u << width && width < 12)
                width++;
            code = !left ? 5 : next >= 4095 ? 4 : next;
            run++;
        }
    }
    if (n) {
        put((uint8_t[]){(uint8_t)n}, 1);
        put(block, n);
    }
    put("", 1);
}

/* ---- the bombs ------------------------------------------------------------------------------- */

static void gif_pixels(void)                         /* 64 frames of 4096 x 4096, some 500 kB */
{
    gif_screen(4096, 4096);
    for (int i = 0; i < 64; i++)
        gif_frame(4096, 4096);
    text(";");
}

static void gif_side(void)
{
    gif_screen(65535, 65535);
    gif_frame(1, 1);
    text(";");
}

static void gif_frames(void)
{
    gif_screen(16, 16);
    for (int i = 0; i < 200000; i++)
        put(",\0\0\0\0\1\0\1\0\0\2\2\x44\1\0", 15);
    text(";");
}

static void gif_comments(void)                       /* 60 MiB of them */
{
    gif_screen(16, 16);
    for (int i = 0; i < 60; i++) {
        put("!\xFE", 2);
        for (int k = 0; k < 4096; k++) {
            static const char block[256] = "\xFF";
            put(block, sizeof block);
        }
        put("", 1);
    }
    gif_frame(16, 16);
    text(";");
}

static void gif_blocks(void)                         /* 30 million blocks of one byte */
{
    static char many[2 << 16];
    gif_screen(16, 16);
    put("!\xFF", 2);
    memset(many, 1, sizeof many);
    for (int i = 0; i < 460; i++)
        put(many, sizeof many);
    put("", 1);
    gif_frame(16, 16);
    text(";");
}

static void gif_size(void)
{
    gif_screen(16, 16);
    fseek(file, 100 << 20, SEEK_SET);            /* a hole */
    text(";");
}

static void yaml_brackets(void) { repeat("[", 200000); }
static void yaml_braces(void) { repeat("{a: ", 200000); }

static void yaml_indent(void)
{
    for (int i = 0; i < 1000; i++)
        fprintf(file, "%*sa:\n", i, "");
}

static void yaml_aliases(void)
{
    text("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 10; i++) {
        fprintf(file, "a%d: &a%d [", i, i);
        for (int k = 0; k < 9; k++)
            fprintf(file, "%s*a%d", k ? "," : "", i - 1);
        text("]\n");
    }
}

static void yaml_twice(void) { text("train: {steps: 1}\ntrain: {steps: 2}\n"); }

static void yaml_size(void)
{
    text("train: \"");
    repeat("aaaaaaaaaaaaaaaa", 1 << 18);
    text("\"\n");
}

static void yaml_keys(void)
{
    for (int i = 0; i < 90000; i++)
        fprintf(file, "k%d: 1\n", i);
}

static void json_deep(void) { repeat("[", 8000000); }

static void json_deep_objects(void)
{
    repeat("{\"a\":", 1000000);
}

static void json_values(void)
{
    text("{\"model\": [0");
    repeat(",0", 8000000);
    text("]}");
}

static void lines_deep(void)
{
    for (int i = 0; i < 50; i++) {
        repeat("[", 100000);
        text("\n");
    }
}

static void tensors_header(uint64_t bytes) { put(&bytes, 8); }

static void tensors_claim(void) { tensors_header(1ull << 60), text("{}"); }

static void tensors_blank(void)                      /* the largest header that is allowed, empty */
{
    tensors_header(100000000);
    text("{");
    repeat("                ", 6249999);
    text("              }");
}

static void tensors_many(void)
{
    static const char one[] = "\"t%07d\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},";
    tensors_header(1000000 * 57ull + 20);
    text("{");
    for (int i = 0; i < 1000000; i++)
        fprintf(file, one, i);
    text("\"__metadata__\":{}  }");
}

static void tensors_shape(void)
{
    static const char head[] = "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4],"
                               "\"shape\":[4294967296,4294967296,4294967296]}}";
    tensors_header(sizeof head - 1);
    text(head);
    put("\0\0\0", 4);
}

static void table_line(void)
{
    text("gif\tquestion\tanswer\ttype\nx.gif\t");
    repeat("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 100000000 / 32);
    text("\ta\tt\n");
}

static void table_tabs(void)
{
    text("gif\tquestion\tanswer\ttype\n");
    repeat("\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\n", 50000);
}

static void words_line(void) { repeat("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 100000000 / 32); }

#define FRAMES "gifqa-prep frames x.gif"
#define CHECK  "gifqa-train --config x.yaml --run-dir r --check"
#define DIFF   "gifqa-ckpt diff x.safetensors y.safetensors"
#define BUILD  "gifqa-prep build x.tsv --gifs . -o made"

static const struct bomb {
    const char *name, *file;
    void      (*make)(void);
    const char *command;
    int         codes[2];               /* exit codes that are right; twice the same: only that   */
    const char *says;                   /* in what it says                                        */
} bombs[] = {
    {"GIF: a thousand megapixels", "x.gif", gif_pixels, FRAMES, {0, 4}, "data.limits.pixels"},
    {"GIF: a screen of 65535 x 65535", "x.gif", gif_side, FRAMES, {4, 4}, "data.limits.side"},
    {"GIF: 200,000 frames", "x.gif", gif_frames, FRAMES, {0, 4}, "data.limits.frames"},
    {"GIF: 60 MiB of comments", "x.gif", gif_comments, FRAMES, {0, 4}, ""},
    {"GIF: 30 million blocks of one byte", "x.gif", gif_blocks, FRAMES, {0, 4}, ""},
    {"GIF: 100 MiB", "x.gif", gif_size, FRAMES, {4, 4}, "data.limits.bytes"},
    {"YAML: 200,000 brackets", "x.yaml", yaml_brackets, CHECK, {3, 3}, "x.yaml"},
    {"YAML: 200,000 braces", "x.yaml", yaml_braces, CHECK, {3, 3}, "x.yaml"},
    {"YAML: 1,000 levels of indentation", "x.yaml", yaml_indent, CHECK, {3, 3}, "x.yaml"},
    {"YAML: ten levels of nine aliases", "x.yaml", yaml_aliases, CHECK, {3, 3}, "x.yaml"},
    {"YAML: a key twice", "x.yaml", yaml_twice, CHECK, {3, 3}, "train"},
    {"YAML: 4 MiB", "x.yaml", yaml_size, CHECK, {3, 3}, "x.yaml"},
    {"YAML: 90,000 keys", "x.yaml", yaml_keys, CHECK, {3, 3}, "x.yaml"},
    {"JSON: 8 million brackets", "d/MANIFEST.json", json_deep, "gifqa-prep verify d", {4, 4}, "d"},
    {"JSON: a million objects in each other", "d/tokenizer.json", json_deep_objects,
     "gifqa-prep tokenize -t d good.txt", {5, 5}, "tokenizer.json"},
    {"JSON: 8 million values", "d/tokenizer.json", json_values, "gifqa-prep tokenize -t d good.txt",
     {5, 5}, "tokenizer.json"},
    {"JSON lines: 100,000 brackets each", "x.jsonl", lines_deep, "gifqa-eval --verify x.jsonl",
     {4, 4}, "line 1"},
    {"safetensors: a header of 2^60 bytes", "x.safetensors", tensors_claim, DIFF, {5, 5},
     "x.safetensors"},
    {"safetensors: 100 MB of blanks", "x.safetensors", tensors_blank, DIFF, {0, 5}, ""},
    {"safetensors: a million tensors", "x.safetensors", tensors_many, DIFF, {0, 5}, ""},
    {"safetensors: 2^96 elements", "x.safetensors", tensors_shape, DIFF, {5, 5}, "x.safetensors"},
    {"table: a line of 100 MB", "x.tsv", table_line, BUILD, {4, 4}, "x.tsv"},
    {"table: 50,000 lines of tabs", "x.tsv", table_tabs, BUILD, {4, 4}, "x.tsv"},
    {"words: a line of 100 MB", "words.txt", words_line,
     "gifqa-prep tokenize -t words.txt good.txt", {5, 5}, "words.txt"},
    {"text: a line of 100 MB", "x.txt", words_line, "gifqa-prep tokenize -t good.txt x.txt", {4, 4},
     "x.txt:1: longer"},
};
enum { BOMBS = sizeof bombs / sizeof *bombs };

/* ---- the rig --------------------------------------------------------------------------------- */

static const char *only = "";
static char        said[1 << 20];

static void become(const char *command)
{
    static char  copy[512];
    char        *word[16], *save = NULL;
    int          n = 0;
    struct rlimit cpu = {CPU_S + 1, CPU_S + 2};

    snprintf(copy, sizeof copy, "%s", command);
    for (char *w = strtok_r(copy, " ", &save); w && n < 15; w = strtok_r(NULL, " ", &save))
        word[n++] = w;
    word[n] = NULL;
    if (chdir(dir) != 0)
        _exit(126);
    dup2(open("out", O_WRONLY | O_CREAT | O_TRUNC, 0666), 1);
    dup2(1, 2);
    setrlimit(RLIMIT_CPU, &cpu);
#ifdef __SANITIZE_ADDRESS__                          /* what it keeps of freed memory is not ours */
    setenv("ASAN_OPTIONS", "detect_leaks=1:allocator_may_return_null=1:quarantine_size_mb=4", 1);
#else
    struct rlimit memory = {2ull * MEMORY_MB << 20, 2ull * MEMORY_MB << 20};
    setrlimit(RLIMIT_AS, &memory);
#endif
    execvp(word[0], word);
    _exit(127);
}

/* Exit code, 128 + N for signal N; what was said and used. */
static int run(const char *command, double *seconds, double *mb)
{
    struct rusage u;
    int           status;
    pid_t         child = fork();
    char          path[256];
    FILE         *f;

    if (child == 0)
        become(command);
    assert_int_equal(wait4(child, &status, 0, &u), child);
    *seconds = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
    *mb = (double)u.ru_maxrss / 1024;
    snprintf(path, sizeof path, "%s/out", dir);
    f = fopen(path, "rb");
    said[f ? fread(said, 1, sizeof said - 1, f) : 0] = 0;
    if (f)
        fclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void every_bomb(void **state)
{
    double start = rig_now(), slowest = 0, largest = 0;
    long   done = 0, fine = 0;
    char   note[160];
    (void)state;

    begin_file("good.txt");
    text("<pad>\n<end>\n<unk>\n?\nhello\n");
    end_file();
    begin_file("y.safetensors");
    tensors_header(2);
    text("{}");
    end_file();
    for (int i = 0; i < BOMBS; i++) {
        const struct bomb *b = &bombs[i];
        double             seconds, mb;
        if (!strstr(b->name, only))
            continue;
        begin_file(b->file);
        b->make();
        end_file();
        int  code = run(b->command, &seconds, &mb);
        bool ok = (code == b->codes[0] || code == b->codes[1]) && strstr(said, b->says) &&
                  seconds < CPU_S && mb < MEMORY_MB;
        done++;
        fine += ok;
        slowest = seconds > slowest ? seconds : slowest;
        largest = mb > largest ? mb : largest;
        if (!ok)
            print_message("%s: exit %d, %.1f s, %.0f MB: %.300s\n", b->name, code, seconds, mb,
                          said);
        begin_file(b->file);                     /* room for the next one */
        end_file();
    }
    snprintf(note, sizeof note, "at most %.1f s of processor time and %.0f MB", slowest, largest);
    rig_report(&(rig_result){.rig = "R10",
                             .what = "bombs: hostile files within 5 s and 200 MB",
                             .injected = done,
                             .survived = fine,
                             .failed = done - fine,
                             .seconds = rig_now() - start,
                             .note = note});
    assert_int_equal(fine, done);
}

static int begin(void **state)
{
    char path[2048];
    (void)state;
    snprintf(path, sizeof path, "%s:%s", GQ_BIN_DIR, getenv("PATH"));
    setenv("PATH", path, 1);
    snprintf(dir, sizeof dir, "%s", gq_scratch());
    return 0;
}

static int end(void **state)
{
    (void)state;
    return gq_remove_tree(dir, NULL) == GQ_OK ? 0 : -1;
}

/* `test_faults_bombs YAML`: only the bombs whose name holds that. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_bomb)};
    if (argc > 1)
        only = argv[1];
    return cmocka_run_group_tests_name("faults/bombs", tests, begin, end);
}
