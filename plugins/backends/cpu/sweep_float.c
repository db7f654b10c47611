/* The feedback sweep in f32, by docs/methods.md 3.3. A panel of rows lies in strips, column by column, and is worked on from left to
 * right: a block of columns first takes in the errors of all columns before it, by the inner loops of sweep_kernel.h, then is
 * encoded. U is packed once, in tiles of a few columns, in the order in which those loops read it. */
#include "sweep.h"

#include <string.h>
#include <sys/mman.h>

#define BLOCK 128    /* columns between two passes over the errors before them */
#define ERRORS 24576 /* bytes of errors taken in at once: those of one strip fit the first cache */
#define STRIPS 7     /* most of a panel: they share what of U is in the second cache */
#define PACE 256     /* columns transposed at once */
#define TILES 32     /* packed by one task */
#define AHEAD 8      /* rows of U fetched before they are packed */
#define HUGE_PAGE ((uintptr_t)2 << 20)

typedef struct tile {
    int64_t col, offset; /* of its rows of U in `packed` */
    int width;
} tile;

typedef struct fast {
    const sweep *s;
    const isa_loops *isa;
    int64_t rows, strips; /* of a strip, of a panel */
    int64_t tiles;
    tile *tile;       /* [tiles]: none crosses the end of a block */
    int64_t *tile_at; /* [n]: the one that begins at a column */
    float *packed;
} fast;

typedef struct panel {
    const fast *f;
    int64_t first, strips;
    sweep_part *part;
    float *w;              /* [strips, n, rows]: errors on the left, values on the right */
    float *scales, *zeros; /* [strips, groups, rows] */
    float *row;            /* [group]: values of one row, for a search */
    float *codes;          /* [BLOCK, rows] */
} panel;

/* Rows of `strip` that are rows of the weight; the rest of the lanes idles. */
static int64_t
strip_rows(const panel *p, int64_t strip)
{
    const int64_t left = p->f->s->w.rows - p->first - strip * p->f->rows;

    return left < 0 ? 0 : cpu_min(left, p->f->rows);
}

static float *
strip_at(const panel *p, int64_t strip, int64_t col)
{
    return p->w + (strip * p->f->s->w.cols + col) * p->f->rows;
}

/* Offset of the scales of one group of a strip. */
static int64_t
scales_at(const panel *p, int64_t strip, int64_t group)
{
    return (strip * p->f->s->scales.cols + group) * p->f->rows;
}

/* Rows of a matrix into strips, column by column; idle lanes get `fill`. */
static void
transpose(const panel *p, const mat *m, float fill, float *to)
{
    const int64_t height = p->f->rows;
    const float *rows[SWEEP_MAX_ROWS];

    for (int64_t strip = 0; strip < p->strips; strip++, to += m->cols * height)
        for (int64_t j = 0; j < m->cols; j += PACE) {
            for (int64_t r = 0; r < height; r++)
                rows[r] = r < strip_rows(p, strip) ? mat_at(m, p->first + strip * height + r, j) : NULL;
            p->f->isa->sweep_transpose(rows, cpu_min(PACE, m->cols - j), fill, to + j * height);
        }
}

/* Columns [from, to) take in the errors of columns [k, end). */
static void
take_errors(const panel *p, int64_t from, int64_t to, int64_t k, int64_t end)
{
    const fast *f = p->f;
    const int64_t depth = ERRORS / (f->rows * (int64_t)sizeof(float));

    for (; k < end; k += depth)
        for (int64_t strip = 0; strip < p->strips; strip++)
            for (const tile *t = f->tile + f->tile_at[from]; t < f->tile + f->tiles && t->col < to; t++)
                f->isa->sweep_apply(&(sweep_tile){.e = strip_at(p, strip, k),
                                                  .u = f->packed + t->offset + k * f->isa->sweep_cols,
                                                  .k = cpu_min(depth, end - k),
                                                  .w = strip_at(p, strip, t->col),
                                                  .width = t->width});
}

/* Scale and zero of one row of the group [from, to). */
static fit_result
fit_row(const panel *p, int64_t strip, int64_t r, const int64_t span[2], float bounds[3][SWEEP_MAX_ROWS])
{
    const sweep *s = p->f->s;
    const int64_t at = scales_at(p, strip, span[0] / s->grid.group) + r;
    const float *w = strip_at(p, strip, span[0]);

    if (bounds[2][r] != 0)
        return FIT_NONFINITE;
    if (s->grid.mse == 0)
        return grid_float.range(&s->grid, &bounds[0][r], &bounds[1][r], &p->scales[at], &p->zeros[at]);
    for (int64_t j = 0; j < span[1] - span[0]; j++)
        p->row[j] = w[j * p->f->rows + r];
    return grid_float.fit(&s->grid, p->row, span[1] - span[0], &p->scales[at], &p->zeros[at]);
}

/* Scales of the group [from, to) from its current values. */
static void
fit_group(const panel *p, int64_t from, int64_t to)
{
    const sweep *s = p->f->s;
    const int64_t group = from / s->grid.group;
    float bounds[3][SWEEP_MAX_ROWS]; /* smallest, largest, and NaN where one is not finite */

    for (int64_t strip = 0; strip < p->strips; strip++) {
        float *scales = p->scales + scales_at(p, strip, group), *zeros = p->zeros + scales_at(p, strip, group);

        p->f->isa->sweep_bounds(strip_at(p, strip, from), to - from, bounds[0], bounds[1], bounds[2]);
        for (int64_t r = 0; r < strip_rows(p, strip); r++) {
            const int64_t row = p->first + strip * p->f->rows + r;
            const fit_result f = fit_row(p, strip, r, (const int64_t[]){from, to}, bounds);

            if (!sweep_fitted(p->part, f)) {
                scales[r] = 1;
                zeros[r] = 0;
            }
            *(float *)mat_at(&s->scales, row, group) = scales[r];
            *(float *)mat_at(&s->zeros, row, group) = zeros[r];
        }
        for (int64_t r = strip_rows(p, strip); r < p->f->rows; r++) {
            scales[r] = 1;
            zeros[r] = 0;
        }
    }
}

/* Codes of columns [from, to) of a strip, back to rows. */
static void
write_codes(const panel *p, int64_t strip, int64_t from, int64_t to)
{
    const sweep *s = p->f->s;

    for (int64_t r = 0; r < strip_rows(p, strip); r++) {
        uint8_t *restrict codes = mat_at(&s->codes, p->first + strip * p->f->rows + r, from);
        const float *column = p->codes + r;
        const int64_t rows = p->f->rows;

        for (int64_t j = 0; j < to - from; j++)
            codes[j] = (uint8_t)column[j * rows];
    }
}

/* Encodes the block [from, to), which has taken in all errors from before it. */
static void
encode_block(const panel *p, int64_t strip, int64_t from, int64_t to)
{
    const fast *f = p->f;
    float loss[SWEEP_MAX_ROWS] = {0};

    for (const tile *t = f->tile + f->tile_at[from]; t < f->tile + f->tiles && t->col < to; t++) {
        sweep_codes out = {
            .top = (float)((1 << f->s->grid.bits) - 1), .codes = p->codes + (t->col - from) * f->rows, .loss = loss};

        for (int c = 0; c < t->width; c++) {
            const int64_t at = scales_at(p, strip, sweep_group(f->s, t->col + c));

            out.scale[c] = p->scales + at;
            out.zero[c] = p->zeros + at;
        }
        f->isa->sweep_encode(&(sweep_tile){.e = strip_at(p, strip, from),
                                           .u = f->packed + t->offset + from * f->isa->sweep_cols,
                                           .k = t->col - from,
                                           .w = strip_at(p, strip, t->col),
                                           .width = t->width},
                             &out);
    }
    for (int64_t r = 0; r < strip_rows(p, strip); r++)
        p->part->loss += (double)loss[r];
    write_codes(p, strip, from, to);
}

/* Columns whose scales are found together: a group, or all where scales are given. */
static int64_t
span_columns(const sweep *s)
{
    return s->fit ? s->grid.group : s->w.cols;
}

static void
panel_task(void *arg, int64_t task, void *scratch)
{
    const fast *f = arg;
    const sweep *s = f->s;
    const int64_t n = s->w.cols, groups = s->scales.cols, span = span_columns(s);
    panel p = {.f = f, .first = task * f->rows * f->strips, .part = &s->parts[task], .w = scratch};

    p.strips = cpu_min(f->strips, cpu_div_up(s->w.rows - p.first, f->rows));
    p.scales = p.w + p.strips * n * f->rows;
    p.zeros = p.scales + p.strips * groups * f->rows;
    p.row = p.zeros + p.strips * groups * f->rows;
    p.codes = p.row + s->grid.group;
    *p.part = (sweep_part){0};
    transpose(&p, &s->w, 0, p.w);
    if (!s->fit) {
        transpose(&p, &s->scales, 1, p.scales);
        transpose(&p, &s->zeros, 0, p.zeros);
    }
    for (int64_t g = 0; g < n; g += span) {
        const int64_t end = cpu_min(g + span, n);

        for (int64_t b = g; b < end; b += BLOCK)
            take_errors(&p, b, cpu_min(b + BLOCK, end), 0, g);
        if (s->fit)
            fit_group(&p, g, end);
        for (int64_t b = g; b < end; b += BLOCK) {
            take_errors(&p, b, cpu_min(b + BLOCK, end), g, b);
            for (int64_t strip = 0; strip < p.strips; strip++)
                encode_block(&p, strip, b, cpu_min(b + BLOCK, end));
        }
    }
}

/* Lists the tiles where `f` has room for them; returns the floats that U takes in tiles. */
static int64_t
list_tiles(const sweep *s, fast *f)
{
    const int64_t n = s->w.cols, span = span_columns(s), cols = f->isa->sweep_cols;
    int64_t floats = 0;

    f->tiles = 0;
    for (int64_t col = 0, width; col < n; col += width) {
        const int64_t group = col / span * span, block = (col - group) / BLOCK * BLOCK + group;

        width = cpu_min(cpu_min(cols, block + BLOCK - col), cpu_min(group + span, n) - col);
        if (f->tile) {
            f->tile[f->tiles] = (tile){col, floats, (int)width};
            f->tile_at[col] = f->tiles;
        }
        f->tiles++;
        floats += (col + width) * cols;
    }
    return floats;
}

/* Row i of U into the tiles [t, end) that it reaches. */
static void
pack_row(const fast *f, int64_t i, const tile *t, const tile *end)
{
    const int64_t cols = f->isa->sweep_cols;
    const float *row = mat_at(&f->s->u, i, 0);
    float *packed = f->packed + i * cols;

    for (; t < end; t++) {
        float *to = packed + t->offset;

        for (int64_t c = 0; c < cols; c += 4)
            if (c + 4 <= t->width) /* a constant size is one move, not a call */
                memcpy(to + c, row + t->col + c, 4 * sizeof *to);
            else
                for (int64_t i4 = c; i4 < c + 4; i4++)
                    to[i4] = i4 < t->width ? row[t->col + i4] : 0;
    }
}

/* A run of tiles at once, for neighbours share the cache lines of U; rows are too far apart for the processor to fetch ahead itself. */
static void
pack_task(void *arg, int64_t task, void *scratch)
{
    const fast *f = arg;
    const tile *first = f->tile + task * TILES, *end = f->tile + cpu_min((task + 1) * TILES, f->tiles);

    const int64_t last = end[-1].col + end[-1].width;

    (void)scratch;
    for (int64_t i = 0; first < end; i++) {
        if (i == first->col + first->width) /* below the diagonal of this one */
            first++;
        for (int64_t col = first->col; col < last; col += 16)
            __builtin_prefetch(mat_at(&f->s->u, cpu_min(i + AHEAD, f->s->u.rows - 1), col));
        pack_row(f, i, first, end);
    }
}

/* Huge pages, where the system has them: the inner loops stride over more pages than the processor remembers. */
static void
wish_huge(char *memory, size_t bytes)
{
    const size_t before = (HUGE_PAGE - (uintptr_t)memory % HUGE_PAGE) % HUGE_PAGE;

    if (bytes >= before + HUGE_PAGE)
        (void)madvise(memory + before, (bytes - before) / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
}

ql_status
sweep_float(ql_ctx *cx, cpu *d, sweep *s)
{
    fast f = {.s = s, .isa = d->isa, .rows = d->isa->sweep_rows};
    const int64_t n = s->w.cols, floats = list_tiles(s, &f), eighth = cpu_div_up(s->w.rows, 8 * f.rows);
    const size_t ints = (size_t)f.tiles * sizeof(tile) + (size_t)n * sizeof(int64_t);
    char *memory;
    size_t bytes;

    f.strips = cpu_min(STRIPS, eighth); /* panels enough for a few threads, when there are rows enough */
    s->tasks = cpu_div_up(s->w.rows, f.rows * f.strips);
    bytes = (size_t)floats * sizeof(float) + ints + (size_t)s->tasks * sizeof *s->parts;
    QL_TRY(cx, ql_scratch(cx, bytes, &memory));
    wish_huge(memory, bytes);
    s->parts = (sweep_part *)memory;
    f.tile = (tile *)(s->parts + s->tasks);
    f.tile_at = (int64_t *)(f.tile + f.tiles);
    f.packed = (float *)(f.tile_at + n);
    list_tiles(s, &f);
    QL_TRY(cx, cpu_run(cx, d, cpu_div_up(f.tiles, TILES), 0, pack_task, &f));
    return cpu_run(cx, d, s->tasks,
                   (size_t)(f.strips * f.rows * (n + 2 * s->scales.cols) + BLOCK * f.rows + s->grid.group) *
                       sizeof(float),
                   panel_task, &f);
}
