/* ============================================================================
   >>net  a graph of layers: shapes, memory, forward, backward
   ==========================================================================*/
/* Parameters lie one after another in one block, gradients in another at the same places,
   buffers (running means, ...) in a third: what saves, steps, clears or adds up over ranks
   takes this table or a block, and knows no layer. Each begins at a whole vector, and the gaps
   stay 0.                                                                    */
typedef struct lsnni_param {
    char *name;                      /* "conv2d1.weight"                      */
    lsnn_param_spec spec;
    size_t at;                       /* offset in the block                   */
    double lr_factor;                /* 0: frozen                             */
    double decay;                    /* times the weight decay                */
    int owner, index;                /* the node that draws it, as its number `index` */
} lsnni_param;

/* What planning finds out about a node: see plan.h, chapter by chapter. All 0 until
   lsnn_net_build, written there alone and read only from then on: so several workspaces, a
   thread each, may run one net.                                              */
typedef struct lsnni_role {
    int readable;                    /* kept, the net's output, a loss's input or output */
    int on_path, live;               /* the net's output, or a readable one, depends on it */
    int needs_grad;                  /* it, or what it reads, has a parameter that learns */
    int readers, last_reader;        /* nodes that read it                    */
    int apart;                       /* a join that is not made: its readers read its parts */
    int blocks, both;                /* its arrays are blocks of images; some reader takes */
                                     /*   the other layout, which is made beside it */
    int y_at, dy_at;                 /* the node in whose place its output lies, its */
                                     /*   gradient: others where it works in place */
    int forward_by, backward_by;     /* the node whose call does its work: a neighbour on */
                                     /*   the way, or itself                  */
    int does, writes;                /* LSNN_DO_...; the node whose output its call writes */
} lsnni_role;

/* An input's number is below its reader's: the table's order is an order to run in, and no
   cycle can be said. Nodes go by number: the table moves as it grows (lsnni_grow), an address
   of one holds until the next lsnn_layer.                                    */
typedef struct lsnni_node {
    const lsnn_layer_type *type;
    char *name, *share, *table;      /* the caller's strings, copied          */
    lsnn_layer_plan plan;            /* as it runs: a crop makes `out` smaller, and a reader */
    int input[LSNN_MAX_INPUTS];      /*   of parts has those in place of its input */
    int joined;                      /* that input, or -1                     */
    lsnn_shape shape;                /* the output's, before a crop           */
    int param[LSNN_MAX_PARAMS], buffer[LSNN_MAX_PARAMS];
    lsnni_role role;
} lsnni_node;

/* What is learned, and what was found out about the graph. What a step writes beside it is in
   lsnn_work, so that to predict a net is only read.                          */
struct lsnn_net {
    lsnn_ctx *cx;
    lsnni_node *node;
    lsnni_param *param, *buffer;
    int nodes, params, buffers, node_room, param_room, buffer_room;
    size_t param_size, buffer_size;  /* of the blocks                         */
    lsnn_real *value, *grad, *state; /* parameters, gradients, buffers        */
    lsnn_real *run_value, *run_grad, *run_state;     /* those that calls see: these, or the */
    struct lsnni_device *device;     /*   device's (>>on device); NULL: the cpu */
    int built, failed, batch, predict_only, output;
    lsnn_status why;                 /* of the first layer that could not be made */
    int max_lanes;                   /* a block of more images would be too large */
    uint64_t seed;
    uint32_t version;                /* counts changes of the parameters      */
    uint32_t steps;                  /* of the last optimizer                 */
    int profile;
    lsnn_work *work;
};

/* One call of a step. All that stays the same from batch to batch is filled in. */
typedef struct lsnni_step {
    int node;                        /* whose forward or backward this is     */
    int turns;                       /* 1: no call; an array of its goes from one layout */
    int back, add;                   /*   to the other: `from` to `to`, as lsnn_interleave */
    lsnn_real *to;                   /*   has it                              */
    const lsnn_real *from;           /* NULL: the batch's own images          */
    lsnn_call call;                  /* x[j] NULL: the batch's own images     */
    double seconds, images;          /* what it has cost, for how many: lsnn_net_profile */
} lsnni_step;
typedef struct lsnni_schedule {
    lsnni_step *forward, *backward;  /* in the order in which they run        */
    int forwards, backwards;
} lsnni_schedule;

/* All that running needs of its own: a net has one, and each further thread that predicts
   makes its own (lsnn_work_new), with a context of its own. In memory one block of numbers,
   planned for the largest batch; smaller ones use a part of each array.      */
struct lsnn_work {
    lsnn_ctx *cx;
    const lsnn_net *net;
    lsnn_net *owner;                 /* the same, if this is its own workspace */
    int batch, train, n;             /* n: images of the last forward, 0: none */
    int ready, done;                 /* 1 after a training forward; after a backward */
    int all;                         /* the last forward ran more than the output needs */
    int chunk;                       /* images that lsnn_work_predict runs at once */
    int lanes;                       /* of the last batch; 0: all arrays are plain */
    int watch, blamed;               /* 1: forward ends at the first output that is not */
                                     /*   finite, and blames that node        */
    lsnn_real **y, **dy, **keep;     /* one pointer a node, into the block    */
    lsnn_real **z, **dz;             /* y, dy in the other layout             */
    lsnni_schedule schedule[2];      /* of plain arrays, of blocks            */
    int *kept;                       /* one a node, see lsnn_call; of this version of the */
    uint32_t version;                /*   parameters                          */
    char *reached;                   /* one a node: backward gives it a gradient */
    lsnn_real *block;
    lsnn_batch last;
    lsnni_flow flow;                 /* of the gradients, to where ranks add them up */
};

