%% A stand-in for the router's policy store, with the functions that the recipe in
%% docs/routers/erlang.md calls: a cache that load_policy fills from files, and a
%% process that dies of a malformed one.
-module(router_policy_store).
-export([start/1, load_policy/2, get_policy/2, reload_fixtures/0]).

start(Root) ->
    ets:new(?MODULE, [named_table, public]),
    ets:insert(?MODULE, {root, Root}),
    register(?MODULE, spawn(fun loop/0)).

loop() ->
    receive
        {load, From, Ref, T, P} ->
            [{root, Root}] = ets:lookup(?MODULE, root),
            File = filename:join([Root, T, <<P/binary, ".json">>]),
            case file:read_file(File) of
                {ok, Bytes} ->
                    Policy = parse(Bytes),
                    ets:insert(?MODULE, {{T, P}, Policy}),
                    From ! {Ref, {ok, Policy}};
                {error, E} ->
                    From ! {Ref, {error, E}}
            end,
            loop();
        {empty, From, Ref} ->
            ets:match_delete(?MODULE, {{'_', '_'}, '_'}),
            From ! {Ref, ok},
            loop()
    end.

call(Msg) ->
    Mon = monitor(process, ?MODULE),
    Ref = make_ref(),
    ?MODULE ! Msg(self(), Ref),
    receive
        {Ref, Answer} -> demonitor(Mon, [flush]), Answer;
        {'DOWN', Mon, process, _, Why} -> exit({policy_store_crashed, Why})
    after 5000 -> exit(timeout)
    end.

load_policy(T, P) -> call(fun(From, Ref) -> {load, From, Ref, T, P} end).
reload_fixtures() -> call(fun(From, Ref) -> {empty, From, Ref} end).

get_policy(T, P) ->
    case ets:lookup(?MODULE, {T, P}) of
        [{_, Policy}] -> {ok, Policy};
        [] -> {error, not_found}
    end.

%% The router's policy is a tuple whose element 12 is circuit_breaker. This reads
%% that object's scalar fields, and dies where the text does not end as an object.
parse(Bytes) ->
    {match, _} = re:run(Bytes, <<"^\\s*\\{.*\\}\\s*$">>, [dotall]),
    CB = case re:run(Bytes, <<"\"circuit_breaker\"\\s*:\\s*\\{([^{}]*)\\}">>, [{capture, [1], binary}]) of
        {match, [Inner]} -> fields(Inner);
        nomatch -> undefined
    end,
    setelement(12, erlang:make_tuple(14, undefined, [{1, policy}]), CB).

fields(Inner) ->
    case re:run(Inner, <<"\"([a-z_]+)\"\\s*:\\s*(true|false|[0-9.]+)">>, [global, {capture, [1, 2], binary}]) of
        {match, Pairs} -> maps:from_list([{K, value(V)} || [K, V] <- Pairs]);
        nomatch -> #{}
    end.

value(<<"true">>) -> true;
value(<<"false">>) -> false;
value(V) -> try binary_to_integer(V) catch error:badarg -> binary_to_float(V) end.
