/* A data plugin whose tokens are not what they say: `about` says in which way. Eight of them, in two sequences. */
#include <qloom/data.h>

typedef struct lies {
    int about;
} lies;

enum { NOTHING, COUNT, OFFSETS, START, ORDER, IDS, VOCABULARY, FIRST, PARENT, TARGETS, REQUESTS, GOLD, PARAMETERS };

static const char *const ways[] = {"nothing", "count",  "offsets", "start",    "order", "ids",        "vocabulary",
                                   "first",   "parent", "targets", "requests", "gold",  "parameters", NULL};
static const ql_param params[] = {QL_ENUM(lies, about, NOTHING, ways, "about what"), QL_PARAMS_END};

/* One document of two requests, of which a word each is scored. */
static void
ask(int about, ql_questions *q, ql_document *d)
{
    static const char *const metrics[] = {"acc"};
    static const int64_t scored[] = {2, 6}, right[] = {1}, none_such[] = {2};
    static const ql_scored_word words[] = {{0, 0, 3}, {1, 1, 4}}, wrong[] = {{0, 0, 3}, {5, 1, 4}};
    static const ql_request requests[] = {{0, 3, 1, 1, 1, {0, 0}}, {0, 3, 1, 1, 1, {0, 0}}};

    *d = (ql_document){.name = "one",
                       .request_count = about == REQUESTS ? 3 : 2,
                       .gold_count = 1,
                       .gold = about == GOLD ? none_such : right};
    *q = (ql_questions){.task = "lies",
                        .protocol = "none",
                        .metric_count = 1,
                        .metrics = metrics,
                        .document_count = 1,
                        .request_count = 2,
                        .scored_count = 2,
                        .target_count = 2,
                        .documents = d,
                        .requests = requests,
                        .scored = scored,
                        .targets = about == TARGETS ? wrong : words};
}

static ql_status
read(ql_ctx *cx, const void *self, const ql_data_request *req, ql_tokens *out)
{
    static const int64_t offsets[] = {0, 4, 8}, late[] = {1, 4, 8}, back[] = {0, 9, 8}, none[] = {-1, -1},
                         later[] = {-1, 1}, behind[] = {0, -1};
    static const int32_t ids[] = {1, 2, 3, 4, 5, 6, 7, 8}, outside[] = {1, 2, 3, 4, 5, 6, 1 << 20, 8};
    static ql_questions questions;
    static ql_document document;
    const lies *p = self;

    (void)cx;
    (void)req;
    *out = (ql_tokens){.count = p->about == COUNT ? -2 : 2,
                       .offsets = p->about == OFFSETS ? NULL
                                  : p->about == START ? late
                                  : p->about == ORDER ? back
                                                      : offsets,
                       .ids = p->about == IDS          ? NULL
                              : p->about == VOCABULARY ? outside
                                                       : ids,
                       .seqlen = 4,
                       .bos_id = -1,
                       .documents = 2,
                       .parent = p->about == PARENT  ? later
                                 : p->about == FIRST ? none
                                                     : NULL,
                       .first = p->about == FIRST ? behind : NULL};
    if (p->about >= TARGETS && p->about <= GOLD) {
        ask(p->about, &questions, &document);
        out->questions = &questions;
    }
    if (p->about == PARAMETERS)
        ((lies *)(uintptr_t)p)->about = COUNT;
    return QL_OK;
}

QL_PLUGIN(.kind = QL_DATA, .name = "lies", .version = "0.1", .help = "tokens that are not what they say",
          .params = params, .self_size = sizeof(lies), .data = QL_TABLE(ql_data, .read = read), );
