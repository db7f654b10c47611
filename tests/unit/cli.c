/* Options out of an argument list, and what ql_main answers before any command runs. */
#include <qloom/qloom.h>

#include "cli/cli.h"
#include "test.h"

typedef struct taken {
    const char *format, **sets;
    bool flag;
    int argc;
    char *argv[16];
    ql_status st;
} taken;

/* `line`: arguments between single blanks; what is taken points into it. */
static void
take(ql_ctx *cx, char *line, taken *t)
{
    const ql_option options[] = {
        {.name = "--format", .letter = "-f", .value = &t->format},
        {.name = "--flag", .flag = &t->flag},
        {.name = "--set", .letter = "-s", .list = &t->sets},
    };
    ql_cli cli = {.cx = cx};

    *t = (taken){0};
    for (char *p = strtok(line, " "); p; p = strtok(NULL, " "))
        t->argv[t->argc++] = p;
    t->st = ql_options(&cli, options, 3, &t->argc, t->argv);
}

static void
test_taken(ql_ctx *cx)
{
    char all[] = "run a --format=x=y -s 1 b --set 2 --flag --set=-3 - -- --flag -f", last[] = "run -f md -f nd",
         none[] = "run";
    taken t;

    take(cx, all, &t);
    CHECK_INT(t.st, QL_OK);
    CHECK_STR(t.format, "x=y");
    CHECK(t.flag);
    CHECK_INT(t.argc, 6);
    CHECK_STR(t.argv[2], "b");
    CHECK_STR(t.argv[3], "-");
    CHECK_STR(t.argv[4], "--flag");
    CHECK_STR(t.argv[5], "-f");
    CHECK(t.argv[6] == NULL);
    CHECK_STR(t.sets[0], "1");
    CHECK_STR(t.sets[1], "2");
    CHECK_STR(t.sets[2], "-3");
    CHECK(t.sets[3] == NULL);
    take(cx, last, &t);
    CHECK_INT(t.st, QL_OK);
    CHECK_STR(t.format, "nd"); /* the last one counts */
    take(cx, none, &t);
    CHECK_INT(t.st, QL_OK);
    CHECK_INT(t.argc, 1);
    CHECK(t.argv[1] == NULL);
}

static void
test_refused(ql_ctx *cx)
{
    static const struct {
        const char *line, *text;
    } cases[] = {
        {"run --formt x", "unknown option '--formt' (did you mean '--format'?)"},
        {"run --quite", "unknown option '--quite' (did you mean '--quiet'?)"},
        {"run -s=3", "unknown option '-s'"}, /* a letter has its value in the next argument */
        {"run --zzzzzzzz=1", "unknown option '--zzzzzzzz'"},
        {"run --flag=yes", "option '--flag' takes no value, got 'yes'"},
        {"run a --format", "option '--format' needs a value"},
        {"run a -s", "option '--set' needs a value"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[128];
        taken t;

        snprintf(line, sizeof line, "%s", cases[i].line);
        take(cx, line, &t);
        CHECK_INT(t.st, QL_INVALID);
        CHECK_STR(ql_error(cx), cases[i].text);
    }
}

/* ql_main can be called again and again by a program that embeds it, and with nothing at all. */
static void
test_main(void)
{
    char program[] = "qloom", option[] = "--nonsense", *wrong[] = {program, option, NULL}, *none[] = {NULL};

    for (int i = 0; i < 2; i++) {
        CHECK_INT(ql_main(2, wrong), 2);
        CHECK_INT(ql_main(0, none), 2);
    }
}

int
main(void)
{
    ql_ctx cx;
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_taken(&cx);
    test_refused(&cx);
    ql_ctx_fini(&cx);
    test_main();
    return TEST_DONE();
}
