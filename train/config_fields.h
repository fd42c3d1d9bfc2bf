/* config_fields.h - the fields of list items: init.rules, train.groups, train.stages. A table for inclusion, with the
 * row macros of config_keys.h. The file that includes it chooses the item type by defining GQ_FIELDS_OF_RULE, _GROUP
 * or _STAGE. NULL as default: must be given; "unset": GQ_UNSET (-1), which no written value gives. */

#if defined GQ_FIELDS_OF_RULE
GQ_STR(match, NULL, "glob", "Parameter names.")
GQ_ENUM(dist, dist, NULL, "normal N(0, scale); fan_in N(0, scale / sqrt(inputs)); constant scale; zeros; sinusoid "
        "scale * sqrt(2) * sin and cos in alternation.")
GQ_REAL(scale, "1", -1e6, 1e6, "", "See dist.")
GQ_REAL(base, "10000", 1, 1e9, "positions", "sinusoid: column pair i has the frequency base^(-2i / width).")
GQ_ENUM(part, part, "all", "Which outputs: all, first_half, second_half (a kv tensor holds k, then v).")
#elif defined GQ_FIELDS_OF_GROUP
GQ_STR(match, NULL, "glob", "Parameter names.")
GQ_REAL(lr_mult, "unset", 0, 1e6, "", "Multiplies train.lr.")
GQ_REAL(decay, "unset", 0, 10, "", "Weight decay, of matrices and vectors alike.")
GQ_MAYBE(frozen, "unset", "Not trained.")
#elif defined GQ_FIELDS_OF_STAGE
GQ_AMOUNT(until, NULL, "End of the stage.")
GQ_STRS(kinds, name, "question kind", "Draw only these question kinds; none named: all.")
GQ_STRS(freeze, glob, "glob", "Parameters that do not learn in this stage.")
#endif
