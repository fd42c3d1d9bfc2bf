/* Resampling against Pillow, byte for byte: hashes of made-up pictures and of real frames (both
 * printed by tests/reference/image.py), published sums, and identities that need no reference. */
#include "support.h"

#include "core/io.h"
#include "core/mem.h"
#include "core/philox.h"
#include "data/gif.h"
#include "data/image.h"

/* First 32 hex digits of the SHA-256 of what Pillow 11.3.0 gives for the made-up picture of that
 * size. */
static const struct {
    uint32_t    w, h, out_w, out_h;
    bool        preprocess;             /* short side and crop; else a plain resize               */
    gq_filter   filter;
    const char *digest;
} made_up[] = {
    { 250, 141, 224, 224, true, GQ_BICUBIC, "c364258e97ae1bf9f383745df614d2b6" },
    { 500, 281, 224, 224, true, GQ_BICUBIC, "c28da16deac5346b255a4ad25b08d096" },
    { 8, 6, 224, 224, true, GQ_BICUBIC, "6e3a153d71879e4fed698df319cae6d3" },
    { 224, 224, 224, 224, true, GQ_BICUBIC, "8d3a66db4c996397a043ec05f5dec7bc" },
    { 180, 320, 224, 224, true, GQ_BICUBIC, "b5d12e39df1e17167682debceeb05af0" },
    { 1, 1, 12, 12, true, GQ_BICUBIC, "1fe2373734955e60c172999142934b52" },
    { 3, 200, 12, 12, true, GQ_BICUBIC, "a608da43007bcc7c43acffa1198ae427" },
    { 225, 227, 224, 224, true, GQ_BICUBIC, "64fc463aa71f2c21d9eed3e07b78e608" },
    { 97, 61, 32, 32, true, GQ_BICUBIC, "6d4e667f4f938de48d1323ec2d9c07b1" },
    { 640, 33, 16, 16, true, GQ_BICUBIC, "9661c2c718ff6fe05165319d9a2ca697" },
    { 1613, 810, 224, 224, true, GQ_BICUBIC, "aab0761cbe5dc9d7482628ad7221889a" },
    { 12, 12, 96, 96, true, GQ_BICUBIC, "eb630ac94b58ae991bdff51927489e15" },
    { 8, 6, 4, 3, false, GQ_BICUBIC, "0ff0565461f9ff0177600d600bc3398e" },
    { 8, 6, 8, 3, false, GQ_BICUBIC, "2b29fd7faa3b7cda965140cb6a852ba0" },
    { 8, 6, 5, 6, false, GQ_BICUBIC, "228cf3d18b29b80603a4b28ebc71b659" },
    { 17, 31, 40, 7, false, GQ_BICUBIC, "192c69b8e1c7dc6d9ee6082e772b48e5" },
    { 31, 17, 7, 40, false, GQ_BICUBIC, "00130da4abfd31e099cafba03c31dc24" },
    { 1, 9, 9, 1, false, GQ_BICUBIC, "a72b466976de2b0ee2ac052f247b1457" },
    { 300, 2, 7, 300, false, GQ_BICUBIC, "6f1388b9615d7c965cb5a3d397745c1d" },
    { 64, 64, 63, 65, false, GQ_BICUBIC, "1bbac40dd9612d7c20699db9f95e7bdc" },
    { 99, 101, 33, 101, false, GQ_BICUBIC, "281966eaf1da5969048508bc47c97dc1" },
    { 250, 141, 224, 224, true, GQ_NEAREST, "14c1be644d50759ed42832d4af91315e" },
    { 500, 281, 224, 224, true, GQ_NEAREST, "b144518e8b1ab5a28b54e86ab0ef1156" },
    { 8, 6, 224, 224, true, GQ_NEAREST, "f7f02a69d28ac8eba07984b688f00216" },
    { 224, 224, 224, 224, true, GQ_NEAREST, "8d3a66db4c996397a043ec05f5dec7bc" },
    { 180, 320, 224, 224, true, GQ_NEAREST, "01ca32cb4e474367b40bc68ea0748fd3" },
    { 1, 1, 12, 12, true, GQ_NEAREST, "1fe2373734955e60c172999142934b52" },
    { 3, 200, 12, 12, true, GQ_NEAREST, "09564c228bb4784fea0428846add22b3" },
    { 225, 227, 224, 224, true, GQ_NEAREST, "094cd26456356fa10ee6f05918a5bba9" },
    { 97, 61, 32, 32, true, GQ_NEAREST, "dc0413d37cb67a951a93a30f51e2e365" },
    { 640, 33, 16, 16, true, GQ_NEAREST, "f50b86ac7530e2bd57f4890108969711" },
    { 1613, 810, 224, 224, true, GQ_NEAREST, "290cf24411b431a4e3e9beace9b4f364" },
    { 12, 12, 96, 96, true, GQ_NEAREST, "3f8e8cf312ccade4193b6a2208647893" },
    { 8, 6, 4, 3, false, GQ_NEAREST, "1ef6eb837406069bbc2d283fe90d15c2" },
    { 8, 6, 8, 3, false, GQ_NEAREST, "7075ae1fbbfc2c2ef009e46a3ca79e0e" },
    { 8, 6, 5, 6, false, GQ_NEAREST, "26b3f46548005cd3e8c2f46d343a8f45" },
    { 17, 31, 40, 7, false, GQ_NEAREST, "ee3c40589119f75de3171a3ac04f7ae6" },
    { 31, 17, 7, 40, false, GQ_NEAREST, "39b53bb242f2f2917a5bf93fe2ba6ff0" },
    { 1, 9, 9, 1, false, GQ_NEAREST, "a72b466976de2b0ee2ac052f247b1457" },
    { 300, 2, 7, 300, false, GQ_NEAREST, "ccd0fe228e075cf2a5340c7d5622e1f1" },
    { 64, 64, 63, 65, false, GQ_NEAREST, "c04af99328b0ffb289c507a3f7b2c773" },
    { 99, 101, 33, 101, false, GQ_NEAREST, "d2aa64aa0f3c4f9d886eacd3e31317c0" },
};

/* The same for frames of real GIFs over black, preprocessed to 224. */
static const struct { const char *file; uint32_t frame; const char *digest; } real[] = {
    { "tgif-qa_2.gif", 0, "38ec43c8718f5bb465af1f98aa15da2b" },
    { "tgif-qa_2.gif", 5, "b51536277feafe46505d0ae407fb2579" },
    { "tgif-qa_3.gif", 0, "9bbb5029c80292f9a5561788215f2dbf" },
    { "tgif-qa_action_3.gif", 0, "955a8ee26d74aa2bd1523bc0274a7ddf" },
    { "stllm_monkey.gif", 0, "0d5f78b671a2d940295877f61b4e3585" },
    { "stllm_Driving.gif", 0, "d535268eebc4f8946c5a1a9458b30f32" },
    { "mmaction2_demo.gif", 3, "af801e45087142f0ac842d11779eef07" },
    { "fzc_fire.gif", 7, "9ed5eff74a475f4681cc9075deaddf7e" },
    { "wuffs_muybridge.gif", 2, "f13d63b5798181fbf08ac61f5be19fcf" },
    { "pillow_hopper.gif", 0, "60d9df0fb4c1aa32d16acc73ce804d12" },
};

static uint8_t *make_picture(uint32_t w, uint32_t h)
{
    uint8_t *rgb = gq_malloc((size_t)w * h, 3);
    for (uint32_t y = 0; y < h; y++)
        for (uint32_t x = 0; x < w; x++) {
            uint8_t *p = rgb + 3 * ((size_t)y * w + x);
            p[0] = (uint8_t)(7 * x + 13 * y);
            p[1] = (uint8_t)(x * x + 3 * y);
            p[2] = (uint8_t)(5 * (x ^ y));
        }
    return rgb;
}

static void assert_digest(const uint8_t *data, size_t bytes, const char *want, const char *what)
{
    uint8_t digest[32];
    char    hex[65];
    gq_sha256(data, bytes, digest);
    gq_hex(digest, 32, hex);
    if (strncmp(hex, want, 32))
        fail_msg("%s: %.32s, Pillow gives %s", what, hex, want);
}

static void made_up_pictures_equal_pillow(void **state)
{
    (void)state;
    gq_error    err = { 0 };
    gq_resizer *r;
    assert_ok(gq_resizer_new(&r, &err), &err);
    for (size_t i = 0; i < sizeof made_up / sizeof *made_up; i++) {
        uint32_t w = made_up[i].w, h = made_up[i].h, ow = made_up[i].out_w, oh = made_up[i].out_h;
        uint8_t *rgb = make_picture(w, h), *out = gq_malloc((size_t)ow * oh, 3);
        char     what[80];
        snprintf(what, sizeof what, "row %zu: %ux%u to %ux%u", i, w, h, ow, oh);
        for (int again = 0; again < 2; again++) {           /* the second time with cached tables */
            memset(out, 0x5a, (size_t)ow * oh * 3);
            if (made_up[i].preprocess)
                assert_ok(gq_resizer_preprocess(r, rgb, w, h, ow, made_up[i].filter, out, &err),
                          &err);
            else
                assert_ok(gq_resizer_resize(r, rgb, w, h, ow, oh, made_up[i].filter, out, &err),
                          &err);
            assert_digest(out, (size_t)ow * oh * 3, made_up[i].digest, what);
        }
        gq_free(rgb);
        gq_free(out);
    }
    gq_resizer_free(r);
}

static void real_frames_equal_pillow(void **state)
{
    (void)state;
    const char     *folder = need_shared("data/gif/good");
    static uint8_t  out[224 * 224 * 3];
    gq_gif_limits   limits = gq_gif_limits_default();
    limits.max_seconds = 0;             /* sanitizers are slow                                    */
    for (size_t i = 0; i < sizeof real / sizeof *real; i++) {
        char        path[1400];
        gq_bytes    bytes;
        gq_gif_clip clip;
        gq_error    err = { 0 };
        snprintf(path, sizeof path, "%s/%s", folder, real[i].file);
        assert_ok(gq_read_file(path, 64 << 20, &bytes, &err), &err);
        assert_ok(gq_gif_load_rgb(bytes.data, bytes.size, path, &limits, &real[i].frame, 1, NULL,
                                  64 << 20, &clip, &err),
                  &err);
        assert_ok(
            gq_image_preprocess(clip.rgb, clip.width, clip.height, 224, GQ_BICUBIC, out, &err),
            &err);
        assert_digest(out, sizeof out, real[i].digest, path);
        gq_gif_clip_free(&clip);
        gq_bytes_free(&bytes);
    }
}

/* The table of golden values that the model specification gives (computed with Pillow 9.4). */
static void published_sums(void **state)
{
    (void)state;
    static const struct {
        uint32_t w, h, sum[3];
        uint8_t  pixel[3];
        float    normal[3];
    } rows[] = {
        {250, 141, {6397953, 6342120, 6375216}, {134, 223, 10}, {0.163927f, 1.594635f, -1.338019f}},
        {500, 281, {6396233, 6342960, 6393435}, {21, 28, 23}, {-1.485696f, -1.331880f, -1.153158f}},
        {8, 6, {2860256, 1145312, 882772}, {41, 10, 1}, {-1.193727f, -1.602019f, -1.466000f}},
        {224, 224, {6394880, 6365952, 6346240}, {114, 240, 174},
         {-0.128042f, 1.849767f, 0.994072f}},
        {180, 320, {6397316, 6412823, 6517879}, {186, 0, 187}, {0.923045f, -1.752097f, 1.178933f}},
    };
    static uint8_t out[224 * 224 * 3];
    static float   planes[3 * 224 * 224];
    gq_error       err = { 0 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t *rgb = make_picture(rows[i].w, rows[i].h);
        assert_ok(gq_image_preprocess(rgb, rows[i].w, rows[i].h, 224, GQ_BICUBIC, out, &err), &err);
        gq_image_normalize(out, 224, gq_clip_mean, gq_clip_std, planes);
        for (size_t c = 0; c < 3; c++) {
            uint32_t sum = 0;
            for (size_t k = 0; k < 224 * 224; k++)
                sum += out[3 * k + c];
            size_t at = 100 * 224 + 50;
            assert_int_equal(sum, rows[i].sum[c]);
            assert_int_equal(out[3 * at + c], rows[i].pixel[c]);
            assert_true(fabsf(planes[c * 224 * 224 + at] - rows[i].normal[c]) < 2e-6f);
        }
        gq_free(rgb);
    }
    static const uint8_t red[12] = { 11, 24, 39, 52, 37, 50, 65, 78, 62, 75, 90, 103 };
    uint8_t             *rgb = make_picture(8, 6);
    gq_resizer          *r;
    assert_ok(gq_resizer_new(&r, &err), &err);
    assert_ok(gq_resizer_resize(r, rgb, 8, 6, 4, 3, GQ_BICUBIC, out, &err), &err);
    for (int k = 0; k < 12; k++)
        assert_int_equal(out[3 * k], red[k]);
    gq_resizer_free(r);
    gq_free(rgb);
}

static void cropping_first_changes_nothing(void **state)
{
    (void)state;
    static const uint32_t cases[][3] = {
        {50, 31, 12}, {31, 50, 12}, {9, 40, 20}, {200, 7, 5}, {7, 7, 7}};
    gq_error              err = { 0 };
    gq_resizer           *r;
    assert_ok(gq_resizer_new(&r, &err), &err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int f = GQ_BICUBIC; f <= GQ_NEAREST; f++) {
            uint32_t w = cases[i][0], h = cases[i][1], size = cases[i][2], ow, oh;
            gq_image_short_side(w, h, size, &ow, &oh);
            uint8_t *rgb = make_picture(w, h), *whole = gq_malloc((size_t)ow * oh, 3);
            uint8_t *part = gq_malloc((size_t)size * size, 3);
            assert_ok(gq_resizer_resize(r, rgb, w, h, ow, oh, (gq_filter)f, whole, &err), &err);
            assert_ok(gq_resizer_preprocess(r, rgb, w, h, size, (gq_filter)f, part, &err), &err);
            for (uint32_t y = 0; y < size; y++)
                assert_memory_equal(
                    part + (size_t)y * size * 3,
                    whole + 3 * ((size_t)(y + (oh - size) / 2) * ow + (ow - size) / 2), size * 3);
            gq_free(rgb);
            gq_free(whole);
            gq_free(part);
        }
    gq_resizer_free(r);
}

static void nearest_undoes_an_integer_enlargement(void **state)
{
    (void)state;
    gq_error err = { 0 };
    for (uint32_t size = 1; size <= 16; size++)
        for (uint32_t times = 1; times <= 20; times++) {
            uint32_t side = size * times;
            uint8_t *small = make_picture(size, size), *large = gq_malloc((size_t)side * side, 3);
            uint8_t *back = gq_malloc((size_t)size * size, 3);
            for (uint32_t y = 0; y < side; y++)
                for (uint32_t x = 0; x < side; x++)
                    memcpy(large + 3 * ((size_t)y * side + x),
                           small + 3 * (y / times * size + x / times), 3);
            assert_ok(gq_image_preprocess(large, side, side, size, GQ_NEAREST, back, &err), &err);
            assert_memory_equal(back, small, (size_t)size * size * 3);
            gq_free(small);
            gq_free(large);
            gq_free(back);
        }
}

/* Weights sum to one in fixed point up to half a unit each, so a flat picture stays flat at any
 * size. */
static void flat_pictures_stay_flat(void **state)
{
    (void)state;
    static const uint32_t sides[] = { 1, 2, 5, 13, 64, 199 };
    gq_error              err = { 0 };
    gq_resizer           *r;
    assert_ok(gq_resizer_new(&r, &err), &err);
    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < 6; j++) {
            size_t   in = (size_t)sides[i] * sides[j] * 3;
            uint8_t *rgb = gq_malloc(in, 1), *out = gq_malloc(in, 1);
            for (unsigned v = 0; v <= 255; v += 51) {
                memset(rgb, (int)v, in);
                assert_ok(gq_resizer_resize(r, rgb, sides[i], sides[j], sides[j], sides[i],
                                            GQ_BICUBIC, out, &err),
                          &err);
                for (size_t k = 0; k < in; k++)
                    assert_int_equal(out[k], v);
            }
            gq_free(rgb);
            gq_free(out);
        }
    gq_resizer_free(r);
}

/* One axis after the other, pixel by pixel, from the formulas alone. */
static void plain_axis(const uint8_t *in, uint32_t from, uint32_t to, size_t lines, size_t step,
                       size_t line, uint8_t *out, size_t out_step, size_t out_line)
{
    double scale = (double)from / to, widen = scale < 1 ? 1 : scale;
    for (uint32_t k = 0; k < to; k++) {
        double  center = (k + 0.5) * scale, w[512], sum = 0;
        int     lo = (int)(center - 2 * widen + 0.5), hi = (int)(center + 2 * widen + 0.5);
        int32_t fixed[512];
        lo = lo < 0 ? 0 : lo;
        hi = hi > (int)from ? (int)from : hi;
        for (int i = lo; i < hi; i++) {
            double x = fabs((i - center + 0.5) * (1 / widen));
            w[i - lo] = x < 1 ? (1.5 * x - 2.5) * x * x + 1
                        : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
            sum += w[i - lo];
        }
        for (int i = 0; i < hi - lo; i++)
            fixed[i] = (int32_t)(w[i] / sum * (1 << 22) + (w[i] < 0 ? -0.5 : 0.5));
        for (size_t l = 0; l < lines; l++) {
            int32_t acc = 1 << 21;
            for (int i = lo; i < hi; i++)
                acc += in[l * line + (size_t)i * step] * fixed[i - lo];
            acc >>= 22;
            out[l * out_line + k * out_step] = (uint8_t)(acc < 0 ? 0 : acc > 255 ? 255 : acc);
        }
    }
}

static void sizes_at_random_equal_the_formulas(void **state)
{
    (void)state;
    gq_error    err = { 0 };
    gq_resizer *r;
    assert_ok(gq_resizer_new(&r, &err), &err);
    for (uint32_t k = 0; k < 60; k++) {
        uint32_t s[4];
        for (uint32_t i = 0; i < 4; i++)
            s[i] = 1 + gq_philox_at(9, 4 * k + i, GQ_RNG_TEST, 0) % (k < 20 ? 20 : 150);
        uint32_t w = s[0], h = s[1], to_w = s[2], to_h = s[3];
        uint8_t *rgb = gq_malloc((size_t)w * h, 3), *wide = gq_malloc((size_t)to_w * h, 3);
        uint8_t *want = gq_malloc((size_t)to_w * to_h, 3), *got = gq_malloc((size_t)to_w * to_h, 3);
        for (size_t i = 0; i < (size_t)w * h * 3; i++) {
            uint32_t bits = gq_philox_at(10, i, GQ_RNG_TEST, k);
            rgb[i] = (uint8_t)(k % 2 ? bits : 255 * (bits & 1));
        }
        for (size_t c = 0; c < 3; c++) {
            plain_axis(rgb + c, w, to_w, h, 3, (size_t)3 * w, wide + c, 3, (size_t)3 * to_w);
            plain_axis(wide + c, h, to_h, to_w, (size_t)3 * to_w, 3, want + c, (size_t)3 * to_w, 3);
        }
        assert_ok(gq_resizer_resize(r, rgb, w, h, to_w, to_h, GQ_BICUBIC, got, &err), &err);
        if (memcmp(got, want, (size_t)to_w * to_h * 3))
            fail_msg("%ux%u to %ux%u differs from the formulas", w, h, to_w, to_h);
        gq_free(rgb);
        gq_free(wide);
        gq_free(want);
        gq_free(got);
    }
    gq_resizer_free(r);
}

static void every_byte_normalizes_to_the_formula(void **state)
{
    (void)state;
    static uint8_t rgb[16 * 16 * 3];
    static float   planes[3 * 16 * 16];
    for (int i = 0; i < 256; i++)
        for (int c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)(i * (2 * c + 1));
    gq_image_normalize(rgb, 16, gq_clip_mean, gq_clip_std, planes);
    for (int i = 0; i < 256; i++)
        for (int c = 0; c < 3; c++) {
            float x = (float)(rgb[3 * i + c] * (1.0 / 255.0));
            float want = (x - gq_clip_mean[c]) / gq_clip_std[c];
            assert_memory_equal(&planes[c * 256 + i], &want, sizeof want);
        }
}

static void wrong_sizes_and_lost_memory_are_errors(void **state)
{
    (void)state;
    static uint8_t pixel[3 * 64];
    uint8_t        out[3 * 16];
    gq_error       err = { 0 };
    assert_fails(gq_image_preprocess(pixel, 0, 8, 4, GQ_BICUBIC, out, &err), GQ_EUSAGE, &err,
                 "0x8");
    assert_fails(gq_image_preprocess(pixel, 8, 65536, 4, GQ_BICUBIC, out, &err), GQ_EUSAGE, &err,
                 "65536");
    assert_fails(gq_image_preprocess(pixel, 8, 8, 0, GQ_NEAREST, out, &err), GQ_EUSAGE, &err,
                 "0x0");
    for (uint64_t n = 1;; n++) {
        gq_error_clear(&err);
        gq_mem_fail_at(n, false);
        gq_status status = gq_image_preprocess(pixel, 8, 8, 4, GQ_BICUBIC, out, &err);
        gq_mem_fail_at(0, false);
        if (!status) {
            assert_true(n > 8);
            break;
        }
        assert_int_equal(status, GQ_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_up_pictures_equal_pillow),
        cmocka_unit_test(real_frames_equal_pillow),
        cmocka_unit_test(published_sums),
        cmocka_unit_test(cropping_first_changes_nothing),
        cmocka_unit_test(nearest_undoes_an_integer_enlargement),
        cmocka_unit_test(flat_pictures_stay_flat),
        cmocka_unit_test(sizes_at_random_equal_the_formulas),
        cmocka_unit_test(every_byte_normalizes_to_the_formula),
        cmocka_unit_test(wrong_sizes_and_lost_memory_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
