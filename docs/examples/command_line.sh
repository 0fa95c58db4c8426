# TRIO_BUS_URL says which server, for instance redis://localhost (or use --url).
trio-bus doctor || true                           # would that server lose messages?
printf '%s\n' 'order 7' 'order 8' > orders.txt
trio-bus publish orders orders.txt                # one message for each line
echo 'order 9' | trio-bus publish orders          # or from standard input
trio-bus consume orders billing --count 3         # without --count: until Ctrl-C
trio-bus info orders                              # how far behind is each group?
