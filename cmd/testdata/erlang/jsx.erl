%% A stand-in for jsx, which is in the router's release: encode/1 and no more.
-module(jsx).
-export([encode/1]).

encode(Term) -> iolist_to_binary(enc(Term)).

enc(true) -> "true";
enc(false) -> "false";
enc(null) -> "null";
enc(A) when is_atom(A) -> enc(atom_to_binary(A));
enc(I) when is_integer(I) -> integer_to_binary(I);
enc(F) when is_float(F) -> float_to_binary(F, [short]);
enc(B) when is_binary(B) -> [$", [esc(C) || <<C/utf8>> <= B], $"];
enc(M) when is_map(M) ->
    [${, lists:join($,, [[enc(K), $:, enc(V)] || {K, V} <- maps:to_list(M)]), $}];
enc(L) when is_list(L) -> [$[, lists:join($,, [enc(X) || X <- L]), $]].

esc($") -> "\\\"";
esc($\\) -> "\\\\";
esc(C) when C < 32 -> io_lib:format("\\u~4.16.0b", [C]);
esc(C) -> <<C/utf8>>.
