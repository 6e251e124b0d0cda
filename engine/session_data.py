"""Made by `python -m app.session_table` from exchange_calendars. Do not edit."""

# fmt: off
PACKED = {  # see engine/session_table.py
    "XNYS": (
        'c-rmSF;c@Y5Jq8BP|-j`m4c3Ia1@S0#W^T^mbA=p0*=5Dm=w%FFhp@;Yo+~)*LZ>xwEIi)v$n4v!^`FHgZJy<*R`'
        'kH!=E|j+S2!*x;D=I+x_3#>Uca{tvlYW^+)No&CPl4x2wm}<5n_`S+l-Iu4|6RSKeF9`s2N9m(1aF=Ja#+-`d%p%'
        'IuhQ-CC;0tmAQNvp<I)JEymt_2_GRgt<@F`^oy$y^gtehO9@*z@afZ<+n!8lIQjM^Lfk9?9un|SsaPH^K<+h7ccA'
        'UWc_Z_X3ob>pJ93Uw)Y@&vd_!6yDoEevd-1TT-P(cUpF7-_I0IokLu+|Ya3T*U!TU!*Kq7TyoZ<f9MADRxp~fxv#'
        'WjWyYJ@e;$)ngTE54u=W%M&!x>t8cV1rBd3k$xUS8IDdA-fk@pL?0=6CSU(8_v-tb1nV<Xg-7oLXh~@?0G+&&$ht'
        'mi;@Q!PPlK%hk!cGqikNo9lf9A0z8rop<o{bI!@jIVayoZ<o3lo{p#c@4NW;*nM5vBi=#w@8_JG?Q73I=YQhidH7'
        'yEe3ss>QA=w)2hYKCbF$9OadXR!cWH*5mF+v{&dc`i=Qw!J?SJ*c^93^UHW&jnf!;!^<FBUB4|!^%zR(MKYO}kKI'
        's@il0P+rf1vP=b0xu7lM+{eIJb@hZu)G8ITma-9dJ9|~^cS3=g}j582f)h%kWc6<H39UNdZ;h-g8Ha2z|{e;?*bs'
        '}&{I$o=q>PckaIXU3&^?o9FTKBU#SV8uX5HyjiC?nI`~fuJQ}h'
    ),
    "XLON": (
        'c-rmSF%AJy5Qp(qs3bz8p>PyOa}>qi$OX1=04ESpkR=f$Z)4uhulRyj$ddQX%=_<l$8&R-HV?W*^YnR4Yi+^r+is'
        'pe?^ornv*dTxxK`Wm-z;NaUw^M=+FNZQw};-heCK=Vwfp+*bvMhow@&MN_HDoBaGmSFuJxV2`<|_j4B7AXcD_ej>'
        '+jo}^L+pREUyNr0nYQeXL-K!o$uqE=lRZezSlR;JJa)BULR-e)#EnszU4dLWq5fqyzIW$_Mg<``=|Lno9_|kc{M='
        'Kcczb(;eD!`QR@cRxz6?2`JLzQxGuZPaerQK=lc+Ap11Y9E#GDJvOE1<4UpBF=VkSLm*1J^`ObH~XP@WI_<Wby>-'
        'l`=yUaf4J^F9+5*eNhPllH#vsVN3d}sRH8Q#15s$7p%BY2)~j(`0ho#XX%uDdtScfQN*%=LWd`_OBiwT+kC$?4_v'
        'a{4^;yc(eAJJaXR>G{rgzQ>;D&G>wee9fM<mErL{Z)Sg)02nLtH}3&(9su6~a2^2f0q`9F-vMwQ0Pg{C9suV7a2?'
        '<~0L}y8JOIuE;5-1n1K>OW&I8~*0L}y8Ily(U1H1>oc>tUTz<B_C2f%p%|9Achn}2V('
    ),
    "XETR": (
        'c-rmUF;2rk5QSk=P|=WvCMlrj5IGu0q3}U+f}9}*2jBz<xv-QtP$ZsBc0FJ53*{lg%HFp-emnAZ|J{8)b|)O3yTx'
        'jK;P<_5PCtLV<hhQtzqQS(?(rSZ*-Z1b5Ayhbf3tn!1HP|!e7m>v`JCw<eXZlad-S~d&+j#kdD!2FpX2Yd-J=qF{'
        '@{7@pWka8^SI9+`<~w~ujgsB*4BaP^ZfL)`kqExb{&vCgD#o#$@gjU{hYObRK9Nw;d$A9+?jh{@c+sB_+8eQYroH'
        'wnb6wu`*coE=XW;G%kpXReS3b%zCIfN%lGAcH2#<ME%TgTA1}YxJZ62o@io3|zfEn<Gp}4fZ^k!g-Z-<jugmn?sO'
        '9;)Z7uR%$nx^l^|!jV){J;9DtjG#Uu%x5Kex>J+co!_hwrOJ<gW7ieEa+@^LlGUj5arKmDB6V<!RZS>@H7D&)?R8'
        'R?Z>y;_ADl<*EbZ_vQR<52tz8M&5ILJ-K`@>&sRD>&fN!n#Zg!H~u-^`!@JpzMrF}r_p5mGJg3UO}>}+T;Dr3_`c'
        '@x>Dg_&XP3tB*XH>@4*&oF00000000000000007~=j8UWS+0DKRC=K=6L0G<cH`vCYI0Ivh!bpU)1fcF7d0|4+o0'
        'KNyn^8nui;C}$T4}j+ZH0=3bNi6x7'
    ),
    "XTKS": (
        'c-rmUy>S~c5I|unP^83>BL!BZDm<f76uJyYu0y4$236n^T!MzdX(-Nls5=4+VDSYn;LV7<1+e&ex4OgIzr)Mz;e+'
        '4b51&5&{r36uHP_C+yY%<hzW+<tULWFqE9%<QUElY6&6p}RR`%RORJ$%?vUXlX<lV8&BFEYi(~tXnc^x$$w-{$F*'
        'MM4Wd;WdTkM(1ZY{#hi@HD3Lyv~r*Bj)hlaTfh|5p&rwuWR3L<T@I)#+=5~OaEp%+w8fwJ>zWjxnM2kwR2&OzFdA'
        'g<JxhIZD~jO-1dIA?A5M~anG2pvA(Uve7=9=&bG&NL_W8_->;6Z5;5*M>(yA>)?z-*=`8!mXm6IyhmV}se0W|T9='
        '+$!=EFzNYc8A%FS$23&1-vd&Wtk~^I7W>6JOT$+Sc~JCcemdV{1OG?H6nHWsB#?+&A~leRJR3H}}nb&+WcBvbo(i'
        'PnOqvza*&{oxyvn7aemAZBZ}Ed-LABca9w3zPWGin=8wn%h7!u>AiWfdDa#+qT@X4P#?;Zao@Q-8Sg!2JxEAD{gl'
        'IzeO%LXUpgcAKG*f&xkuXLW%ps197``_{D03DYR%!jxUemK)xw9h`k%-WG0EjNxxB}PwK~H^j_+P-K}(!<x$XJf_'
        'Le<aCb#{SJxl9zL5Z>8{RiAOx80B1E-?<&e{y0Y)_n0|jh(jI&u(&g*1FFv`^D(mPmVjsIvsuHnX%q;7RT*f2W{K'
        '0#aU;@_Z;xsd{|~57U{UTuoxHS{RV10M~E?EuJe8aew*LUHUIs(0RR9100000000000000000000000000000000'
        '0000001>K7RlJ00000002O7-T@QFPQC'
    ),
}
BREAKS = {
    "XTKS": (
        'c-rmUy-~z45J2Heh)9Tt2q2;fn4uI(p$cM3p$00T1WI5oFmv3PIqb7m(&`IdaGv4LD{1xfy!iFwYxj1s`{Ct!_v`'
        'cL)$h;eTs!{mt-rtY{hzw_ei!#!QP-X>+rHm(#?)40Wz9WAwd*t{OXo#I-tF5ga;!};-QMKO>!|s-#yG3F29#>s<'
        'L`UEFCTkkJ4VfihcO-Jb%vboF^AWVv*^Ezn9KHgUHX0_*U_jo<}jvK`Zv?rX3f2=8E3uE1#>aaoeN9!<@DPb*N%N'
        '`Q#;D%y7#+euXb*XYsPem^=&TZ<NYIdwmhai^11%~{&#$B5#yS(UWv7BF6P6W&a#h;_Ga09c+Yvwhv)U-(R==EKD'
        '_t5=EAw~E%ye8d2LV5nQ>-)K5Ly~;>+q@TiX8T#1}blEX}96{bH%UtnnO~`{us6Z|<A>=DxY_vE4UEHn#ib$?|&d'
        'w<I;ABY1E1qJ6HRHR?rqZ{C~t&XEJ$H}}nbb7k3cIl8YSy*E!b&f20zw4Y}k>O*-l?mL$!<GuT=2MOt?M>!nX$0a'
        '@YsWWoxb6pFbyQe)~b{}@iv9vPA|9ZAiY7TG3g)Ql;8a}Mn|3q#PlU%No%WGU%tutKY_->^Zbc?etw>_TQUa}|4<'
        'hK8_XQ_QI*kUYr{{gqnZMWmLw-^WNKRK};Yrc4~%1&GDXEV7xYTf6O{bF?OC&!&*osK^9j9BkEisSaKgSzck<E%5'
        '{dk*+*J}k2ji*(#vSd0tvegie0J;WF>*LlAIzs+ywn*Sbl000000000000000000000000000000000000000000'
        '000000000001h9{C1?>u53'
    ),
}
