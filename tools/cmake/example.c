/* example.c - the public header in use: example RUN|EXPORT cat.gif "what is it licking?" */
#include <gifqa.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    char         why[512];
    gifqa       *model;
    gifqa_answer answer;
    int          code;

    if (argc != 4) {
        printf("gifqa %s\n", gifqa_version());
        return GIFQA_EUSAGE;
    }
    code = gifqa_open(argv[1], NULL, &model, why, sizeof why);
    if (code != GIFQA_OK) {
        fprintf(stderr, "%s\n", why);
        return code;
    }
    code = gifqa_ask(model, argv[2], argv[3], &answer);
    if (code == GIFQA_OK)
        printf("%s (%.2f)\n", answer.text, answer.confidence);
    else
        fprintf(stderr, "%s\n", gifqa_error(model));
    gifqa_close(model);
    return code;
}
