/* Text that is safe in HTML and SVG, scales with ticks, markers. */
#include "svg.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include <utf8proc.h>

#include "render.h"

#define LETTER 7.0 /* pixels of an average letter in 12 pixel text of a wide font */
#define LARGEST 1e100

static const char *
escape_of(utf8proc_int32_t c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void
ql_html_put(FILE *out, const char *text)
{
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)(text ? text : ""), *end = p + strlen((const char *)p);

    while (p < end) {
        char shown[QL_SHOWN_SIZE];
        const size_t control = ql_control((const char *)p, shown);
        utf8proc_int32_t c;
        const utf8proc_ssize_t n = utf8proc_iterate(p, end - p, &c);
        const char *other = control ? shown : n > 0 ? escape_of(c) : "\xef\xbf\xbd"; /* U+FFFD */

        if (other)
            fputs(other, out);
        else
            (void)fwrite(p, 1, (size_t)n, out);
        p += control ? control : n > 0 ? (size_t)n : 1;
    }
}

void
ql_html_print(FILE *out, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    for (const char *p = format; *p; p++) {
        if (p[0] == '%' && p[1] == 's') {
            ql_html_put(out, va_arg(ap, const char *));
            p++;
        } else {
            fputc(*p, out);
        }
    }
    va_end(ap);
}

void
ql_svg_text(FILE *out, double x, double y, ql_anchor anchor, const char *text)
{
    static const char *const anchors[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};

    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\"%s>", x, y, anchors[anchor]);
    ql_html_print(out, "%s</text>\n", text);
}

void
ql_svg_open(FILE *out, double width, double height, const char *title)
{
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" "
            "role=\"img\">\n<title>",
            width, height, width, height);
    ql_html_print(out, "%s</title>\n", title);
}

int
ql_text_columns(const char *text)
{
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)text, *end = p + strlen(text);
    int columns = 0;

    while (p < end) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t n = utf8proc_iterate(p, end - p, &c);

        columns += n > 0 ? utf8proc_charwidth(c) : 1;
        p += n > 0 ? n : 1;
    }
    return columns;
}

double
ql_svg_text_width(const char *text)
{
    return LETTER * ql_text_columns(text);
}

const char *
ql_svg_fit(ql_ctx *cx, const char *text, double width)
{
    size_t n = strlen(text);

    if (ql_svg_text_width(text) <= width)
        return text;
    for (; n > 0; n--) {
        const char *cut;

        if (((unsigned char)text[n] & 0xc0) == 0x80) /* inside a character */
            continue;
        cut = ql_format(cx, "%.*s\xe2\x80\xa6", (int)n, text);
        if (!cut || ql_svg_text_width(cut) <= width)
            return cut;
    }
    return "\xe2\x80\xa6";
}

bool
ql_svg_can_draw(double value)
{
    return isfinite(value) && fabs(value) < LARGEST;
}

int
ql_figure_colour(const char *kind)
{
    static const char *const kinds[] = {"model",    "quantizer", "compensator", "evaluator",
                                        "exporter", "data",      "trainer"};
    int i = 0;

    while (i < (int)(sizeof kinds / sizeof *kinds) && strcmp(kinds[i], kind) != 0)
        i++;
    return i % QL_COLOURS;
}

/* --- scales */

static double
forward(const ql_scale *s, double value)
{
    return s->log ? log10(value) : value;
}

double
ql_scale_at(const ql_scale *s, double value)
{
    const double low = forward(s, s->low), high = forward(s, s->high);

    return s->from + (forward(s, value) - low) / (high - low) * (s->to - s->from);
}

static void
add_tick(ql_scale *s, double value)
{
    if (s->tick_count < QL_TICKS_MAX && value >= s->low && value <= s->high)
        s->ticks[s->tick_count++] = value;
}

/* Round numbers with equal steps, five to nine of them. */
static void
even_ticks(ql_scale *s)
{
    const double rough = (s->high - s->low) / 5, unit = pow(10, floor(log10(rough))), part = rough / unit;
    const double step = unit * (part > 5 ? 10 : part > 2 ? 5 : part > 1 ? 2 : 1);

    for (double k = ceil(s->low / step); k * step <= s->high && s->tick_count < QL_TICKS_MAX; k++)
        add_tick(s, k == 0 ? 0 : k * step); /* never -0 */
}

/* 1, 2, 5 of every power of ten, or the powers alone where those are many. */
static void
log_ticks(ql_scale *s)
{
    const int first = (int)floor(log10(s->low)), last = (int)ceil(log10(s->high));
    const int each = last - first > 3 ? (last - first + QL_TICKS_MAX - 1) / QL_TICKS_MAX : 0;

    for (int e = first; e <= last; e += each ? each : 1) {
        add_tick(s, pow(10, e));
        if (!each) {
            add_tick(s, 2 * pow(10, e));
            add_tick(s, 5 * pow(10, e));
        }
    }
}

ql_scale
ql_scale_make(double low, double high, bool log, double from, double to)
{
    ql_scale s = {.log = log && low > 0, .low = low, .high = high, .from = from, .to = to};
    const double room = s.log ? log10(high / low) * 0.06 : (high - low) * 0.06;

    if (s.log && high / low < 1.0001)
        s = (ql_scale){.log = true, .low = low / 2, .high = high * 2, .from = from, .to = to};
    else if (s.log)
        s = (ql_scale){.log = true, .low = low / pow(10, room), .high = high * pow(10, room), .from = from, .to = to};
    else if (high - low <= fabs(high) * 1e-9)
        s = (ql_scale){
            .low = low - fmax(1, fabs(low) / 2), .high = high + fmax(1, fabs(low) / 2), .from = from, .to = to};
    else
        s = (ql_scale){.low = low - room, .high = high + room, .from = from, .to = to};
    if (s.log && s.high / s.low > 8)
        log_ticks(&s);
    else
        even_ticks(&s);
    return s;
}

/* --- markers */

void
ql_svg_marker(FILE *out, int shape, double x, double y)
{
    switch (shape) {
    case 0: /* a circle */
        fprintf(out, "M%.1f,%.1fa4,4 0 1 0 8,0a4,4 0 1 0 -8,0z", x - 4, y);
        break;
    case 1: /* a square */
        fprintf(out, "M%.1f,%.1fh7v7h-7z", x - 3.5, y - 3.5);
        break;
    case 2: /* triangles, up and down */
        fprintf(out, "M%.1f,%.1fl4.5,8h-9z", x, y - 5);
        break;
    case 3:
        fprintf(out, "M%.1f,%.1fl4.5,-8h-9z", x, y + 5);
        break;
    case 4: /* a diamond */
        fprintf(out, "M%.1f,%.1fl5,5l-5,5l-5,-5z", x, y - 5);
        break;
    default: /* a cross */
        fprintf(out, "M%.1f,%.1fh2.4v3.3h3.3v2.4h-3.3v3.3h-2.4v-3.3h-3.3v-2.4h3.3z", x - 1.2, y - 4.5);
    }
}
