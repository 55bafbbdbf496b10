/* ---- >>the model: all writers, and the file ------------------------------------------------*/
static const struct { const lsnn_layer_type *type; void (*write)(lsnni_onnx *e, int i); }
lsnni_onnx_writers[] = {
    { &lsnni_dense_type, lsnni_onnx_dense },
    { &lsnni_relu_type, lsnni_onnx_relu },
    { &lsnni_leaky_relu_type, lsnni_onnx_leaky_relu },
    { &lsnni_sigmoid_type, lsnni_onnx_sigmoid },
    { &lsnni_tanh_type, lsnni_onnx_tanh },
    { &lsnni_scaled_tanh_type, lsnni_onnx_scaled_tanh },
    { &lsnni_rbf_type, lsnni_onnx_rbf },
    { &lsnni_softmax_type, lsnni_onnx_softmax },
    { &lsnni_max_pool_type, lsnni_onnx_max_pool },
    { &lsnni_avg_pool_type, lsnni_onnx_avg_pool },
    { &lsnni_sum_pool_type, lsnni_onnx_sum_pool },
    { &lsnni_lp_pool_type, lsnni_onnx_lp_pool },
    { &lsnni_dropout_type, lsnni_onnx_same },
    { &lsnni_flatten_type, lsnni_onnx_flatten },
    { &lsnni_batch_norm_type, lsnni_onnx_batch_norm },
    { &lsnni_scale_type, lsnni_onnx_scale },
    { &lsnni_add_type, lsnni_onnx_add },
    { &lsnni_concat_type, lsnni_onnx_concat },
    { &lsnni_slice_type, lsnni_onnx_slice },
    { &lsnni_conv2d_type, lsnni_onnx_conv2d },
    { &lsnni_table_conv2d_type, lsnni_onnx_table_conv2d },
    { &lsnni_local2d_type, lsnni_onnx_local2d },
    { &lsnni_target2d_type, lsnni_onnx_target2d },
    { &lsnni_smooth_type, lsnni_onnx_smooth },
    { &lsnni_affine_grid_type, lsnni_onnx_affine_grid },
    { &lsnni_grid_sample_type, lsnni_onnx_grid_sample },
    { &lsnni_blend_type, lsnni_onnx_blend }
};

static int lsnni_onnx_writer(const lsnn_layer_type *type)
{
    int count = (int)(sizeof lsnni_onnx_writers / sizeof lsnni_onnx_writers[0]);
    for (int i = 0; i < count; i++) if (lsnni_onnx_writers[i].type == type) return i;
    return -1;
}

/* ---- >>the model -------------------------------------------------------------------------*/
static lsnn_status lsnni_onnx_graph(lsnni_onnx *e)
{
    const lsnn_net *net = e->net;
    lsnn_shape in = net->node[0].shape, out = net->node[net->output].shape;
    int dim[3];
    dim[0] = in.c; dim[1] = in.h; dim[2] = in.w;
    lsnni_onnx_value(e, 11, net->node[0].name, dim, 3);
    for (int i = 1; i < net->nodes; i++)
        if (net->node[i].role.on_path)
            lsnni_onnx_writers[lsnni_onnx_writer(net->node[i].type)].write(e, i);
    dim[0] = out.c; dim[1] = out.h; dim[2] = out.w;
    lsnni_onnx_value(e, 12, net->node[net->output].name, dim, e->flat[net->output] ? 1 : 3);
    lsnni_pb_text(&e->graph, 2, "lsnn");
    LSNNI_TRY(e->node.status);
    LSNNI_TRY(e->inner.status);
    LSNNI_TRY(e->innermost.status);
    return e->graph.status;
}

/* For lsnni_file_replace.                                                    */
static lsnn_status lsnni_onnx_write(lsnn_ctx *cx, FILE *f, void *user)
{
    const lsnni_bytes *b = (const lsnni_bytes *)user;
    (void)cx;
    return fwrite(b->v, 1, (size_t)b->used, f) == (size_t)b->used ? LSNN_OK : LSNN_EIO;
}

static lsnn_status lsnni_onnx_check(const lsnn_net *net, const char *path)
{
    LSNNI_TRY(lsnni_export_check(net, "net_export_onnx", path));
    for (int i = 1; i < net->nodes; i++) {
        const lsnni_node *v = &net->node[i];
        if (v->role.on_path && lsnni_onnx_writer(v->type) < 0)
            return lsnni_fail(net->cx, LSNN_EUNSUPPORTED, "net_export_onnx: layer '%.60s': a "
                              "%.40s has no form in ONNX", v->name, v->type->name);
    }
    return LSNN_OK;
}

LSNN_API lsnn_status lsnn_net_export_onnx(lsnn_net *net, const char *path)
{
    lsnni_onnx e;
    lsnn_status s = LSNN_ENOMEM;
    size_t row = 1;
    lsnn_ctx *cx;
    if (!net) return LSNN_ENOMEM;
    cx = net->cx;
    LSNNI_TRY(lsnni_onnx_check(net, path));
    memset(&e, 0, sizeof e);
    e.cx = e.graph.cx = e.node.cx = e.inner.cx = e.innermost.cx = cx;
    e.net = net;
    e.opset = LSNNI_ONNX_OPSET;
    for (int i = 0; i < net->nodes; i++)
        row = LSNNI_MAX(row, (size_t)lsnni_features(net->node[i].shape));
    e.flat = (char *)lsnni_alloc(cx, (size_t)net->nodes, 1);
    e.row = (lsnn_real *)lsnni_alloc(cx, row, sizeof *e.row);
    if (e.flat && e.row) s = lsnni_onnx_graph(&e);
    if (s == LSNN_OK) {                                  /* node: the model, now */
        lsnni_pb_int(&e.node, 1, e.opset > 15 ? 8 : 7);  /* IR version of ONNX 1.11, 1.8 */
        lsnni_pb_text(&e.node, 2, "lsnn");
        lsnni_pb_text(&e.node, 3, LSNN_VERSION);
        lsnni_pb_message(&e.node, 7, &e.graph);
        lsnni_pb_text(&e.inner, 1, "");
        lsnni_pb_int(&e.inner, 2, e.opset);
        lsnni_pb_message(&e.node, 8, &e.inner);
        s = e.node.status;
    }
    if (s == LSNN_OK) s = lsnni_file_replace(cx, path, lsnni_onnx_write, &e.node);
    lsnni_free(cx, e.graph.v);
    lsnni_free(cx, e.node.v);
    lsnni_free(cx, e.inner.v);
    lsnni_free(cx, e.innermost.v);
    lsnni_free(cx, e.flat);
    lsnni_free(cx, e.row);
    return s;
}
